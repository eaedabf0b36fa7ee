"""Which artifact is meant, and finding it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmedge.artifact import Artifact, read_artifact
from fmedge.card import ModelCard
from fmedge.errors import ArtifactError, UsageError
from fmedge.run_options import RunOptions
from fmedge.submodel import (
    ALL,
    KERAS,
    VGG16,
    Activation,
    ExportOptions,
    SubModel,
    artifact_name,
    every_tap,
    find_activation,
    own_converter,
    require_channel,
)
from fmedge.vgg16 import find_layer
from fmedge.weights import WeightsChoice, choose_keras_file, choose_weights

DEFAULT_LAYER = "block1_conv1"


def models_folder(folder: Path | str | None = None) -> Path:
    """Where artifacts are: the argument, else ``FMEDGE_MODELS``, else ``models`` in the current folder."""
    return Path(folder or os.environ.get("FMEDGE_MODELS") or "models")


@dataclass(frozen=True, slots=True)
class ArtifactRequest:
    """What an artifact has to be to be taken.

    Attributes:
        submodel: What is cut.
        weights: The weights it holds; for a Keras model of the user's own, that file.
        folder: Where it is, or will be.
        options: In which form.
    """

    submodel: SubModel
    weights: WeightsChoice
    folder: Path
    options: ExportOptions = field(default_factory=ExportOptions)

    @property
    def path(self) -> Path:
        """Name of the model file: short for the default choices, one token more for every other."""
        return self.folder / artifact_name(self.submodel, self.options, self.weights.token)

    def accepts(self, card: ModelCard) -> bool:
        """Whether a model with that card is the one asked for."""
        asked, found = self.submodel, card.submodel
        same_cut = (
            set(asked.taps) == set(found.taps)  # their order in a Keras model is known only once it is loaded
            and (asked.activation, asked.source) == (found.activation, found.source)
        )
        return same_cut and card.options == self.options and self.weights.matches(card.weights)


def request_artifact(
    layer: str | None = None,
    activation: str | None = None,
    *,
    channel: int | None = None,
    weights: str | None = None,
    keras: Path | str | None = None,
    models: Path | str | None = None,
    options: ExportOptions | None = None,
) -> ArtifactRequest:
    """Say which artifact is meant, in plain words.

    Args:
        layer: Keras' name of the layer, or several with ``+`` between; ``all`` for every layer of VGG16 (with
            ``none`` every convolution) in one model; None means :data:`DEFAULT_LAYER`.
        activation: ``relu``, or ``none`` for values before ReLU; None means ``relu``.
        channel: A channel of every tap that will be looked at; checked here, before any work.
        weights: ``imagenet``, ``untrained`` or a Keras .h5 file; None as in ``choose_weights``.
        keras: A Keras model of the user's own, ``.keras`` or ``.h5``, in place of stock VGG16.
        models: Folder of the artifacts; None as in :func:`models_folder`.
        options: In which form; None takes :func:`default_options`.

    Raises:
        UsageError: The layer or the channel does not exist, or the layer has no ReLU to leave out.
        WeightsError: The weights or model file does not exist.
    """
    options = _spelled_short(options or default_options(), KERAS if keras is not None else VGG16)
    chosen = Activation.RELU if activation is None else find_activation(activation)
    taps = _taps(layer or DEFAULT_LAYER, chosen, stock=keras is None)
    if keras is not None:
        if weights is not None:
            raise UsageError("--keras brings its own weights. Leave --weights out.")
        submodel = SubModel(taps, chosen, KERAS)
        return ArtifactRequest(submodel, choose_keras_file(Path(keras)), models_folder(models), options)
    submodel = SubModel(taps, chosen)
    if channel is not None:
        for tap in submodel.taps:
            require_channel(tap, find_layer(tap).channels, channel)
    return ArtifactRequest(submodel, choose_weights(weights), models_folder(models), options)


def _taps(layer: object, activation: Activation, *, stock: bool) -> tuple[str, ...]:
    if not isinstance(layer, str):
        raise UsageError(f"layer: got {layer!r}. Allowed: a name, or several with + between. All: fmedge layers.")
    if layer.strip() != ALL:
        return tuple(name.strip() for name in layer.split("+"))
    if not stock:
        raise UsageError("--layer all knows stock VGG16 alone. Name a Keras model's layers: --layer a+b.")
    return every_tap(activation)


def default_options(run: RunOptions | None = None) -> ExportOptions:
    """The defaults, in the kind of file that the engine of such a run prefers."""
    from fmedge.runtime import default_format

    return ExportOptions(default_format(run))


def _spelled_short(options: ExportOptions, source: str) -> ExportOptions:
    """The same options with a default that was spelled out left open: both are one artifact."""
    own = own_converter(source, options.format, options.precision)
    return replace(options, converter=None) if options.converter is own else options


def find_artifact(request: ArtifactRequest) -> Artifact | None:
    """Read the artifact if it is there, whole, and the one asked for; None otherwise."""
    try:
        artifact = read_artifact(request.path)
    except ArtifactError:
        return None
    return artifact if request.accepts(artifact.card) else None


_TUNED_SUFFIX = ".tuned.json"


def has_choices(folder: Path) -> bool:
    """Whether a folder holds any tuned choice; no error where there is no such folder."""
    return next(folder.glob(f"*{_TUNED_SUFFIX}"), None) is not None


def tuned_path(request: ArtifactRequest) -> Path:
    """Where the choice for a sub-model is, beside its models: ``block3_conv3.tuned.json`` for the default options."""
    options = ExportOptions(size=request.options.size)
    name = artifact_name(request.submodel, options, request.weights.token).removesuffix(options.format.suffixes[0])
    return request.folder / f"{name.replace('.relu', '').replace('.fp32', '')}{_TUNED_SUFFIX}"
