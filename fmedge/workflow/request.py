"""Specify which artifact is requested, and find it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmedge.errors import ArtifactError, UsageError
from fmedge.model.artifact import Artifact, read_artifact
from fmedge.model.card import ModelCard
from fmedge.model.preprocessing import CAFFE
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import APPLICATIONS, STOCK, find_network
from fmedge.model.submodel import (
    Activation,
    ExportOptions,
    SubModel,
    artifact_name,
    find_activation,
    own_converter,
    require_channel,
)
from fmedge.model.weights import WeightsChoice, choose_weights
from fmedge.system.choices import StrPath, find_path, require_record
from fmedge.workflow.layer_names import Layers, tap_names


def models_folder(folder: StrPath | None = None) -> Path:
    """Return the folder of the artifacts: the argument, ``FMEDGE_MODELS``, or ``models`` in the current folder."""
    return find_path("models", folder or os.environ.get("FMEDGE_MODELS") or "models")


@dataclass(frozen=True, slots=True)
class ArtifactSpec:
    """The specification that an artifact must meet.

    Attributes:
        submodel: The sub-model that is cut.
        weights: The weights that it holds; for a user's own Keras model, that file.
        folder: The folder that it is in, or will be written to.
        options: Its form.
        notes: Remarks to show before it is exported.
        functions: Per tap, the layer's activation as in a card. For a Keras model it is known only after the model is
            loaded; empty until then, and for stock networks.
    """

    submodel: SubModel
    weights: WeightsChoice
    folder: Path
    options: ExportOptions = field(default_factory=ExportOptions)
    notes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Path of the model file: its name is short for the defaults, with one more token for every other choice."""
        return self.folder / artifact_name(self.submodel, self.options, self.weights.token, self.functions)

    @property
    def names_its_function(self) -> bool:
        """Whether the file's name contains the name of a Keras layer's activation."""
        return self.submodel.stock is None and self.submodel.activation is Activation.RELU

    @property
    def title(self) -> str:
        """What is requested, for a person to read: the file, if its name is known."""
        if self.names_its_function and not self.functions:
            return f"'{self.submodel.label}' of {self.weights.path}"
        return str(self.path)

    def accepts(self, card: ModelCard) -> bool:
        """Tell whether a model with this card is the requested one."""
        asked, found = self.submodel, card.submodel
        same_cut = (
            set(asked.taps) == set(found.taps)  # their order in a Keras model is known only once it is loaded
            and (asked.activation, asked.source) == (found.activation, found.source)
        )
        named = bool(card.functions) or card.submodel.stock is not None  # old cards do not name the activation
        return same_cut and named and card.options == self.options and self.weights.matches(card.weights)


def request_artifact(
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    channel: int | None = None,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    models: StrPath | None = None,
    options: ExportOptions | None = None,
    sha256: Callable[[], str] | None = None,
) -> ArtifactSpec:
    """Turn names and paths, as a user gives them, into an artifact's specification.

    Args:
        layer: Keras' name of the layer, or several names joined by ``+``; ``all`` means every layer of a stock network
            (with ``none`` every convolution) in one model; or a sequence of names; see :func:`tap_names`. None means
            :data:`DEFAULT_LAYER`.
        activation: ``relu`` for the layer's own output, with whatever activation belongs to it, or ``none`` for the
            values before that activation; None means ``relu``.
        channel: A channel that every tap must have; checked here, before any work.
        network: The stock network, ``vgg16`` or ``vgg19``, or another one of ``keras.applications``; None means
            ``vgg16``.
        weights: Its weights: ``imagenet``, ``untrained`` or a Keras .h5 file; None as in ``choose_weights``. Networks
            that are not stock need a file.
        keras: A user's own Keras model, ``.keras`` or ``.h5``, instead of a stock network. Its size is used if the
            options name none. Unless it begins with Rescaling or Normalization, the options must say what it needs
            done to pixels.
        onnx: A user's own ONNX network instead of a stock one. Its size is used if the options name none; they must say
            what it needs done to pixels.
        models: Folder of the artifacts; None as in :func:`models_folder`.
        options: The form of the model; None means :func:`export_options`.
        sha256: As in ``choose_weights``.

    Raises:
        UsageError: The layer or the channel does not exist, or values before the activation are requested of a pool of
            a stock network, which has none; see also :func:`settle_options`.
        WeightsError: The weights or model file does not exist, or is damaged.
    """
    stock = find_network(network, keras, onnx)
    application = stock in APPLICATIONS
    own = None
    if application or keras is not None or onnx is not None:
        from fmedge.workflow.own_networks import read_application, read_own_network  # most runs do without

        own = read_application(stock, weights) if application else read_own_network(keras=keras, onnx=onnx)
    options = _spelled_short(options or export_options(network, keras, onnx), own.source if own else stock)
    chosen = Activation.RELU if activation is None else find_activation(activation)
    if own is not None:
        if weights is not None and not application:
            raise UsageError(
                f"weights cannot be given with a network of your own: its {own.source} file has them. Leave it out.",
                flags=("--weights",),
            )
        submodel = SubModel(tap_names(layer, chosen, own.names), chosen, own.source)
        from fmedge.workflow.own_networks import settle_options

        options, notes = settle_options(options, own.takes)
        return ArtifactSpec(submodel, own.choice, models_folder(models), options, notes)
    submodel = SubModel(tap_names(layer, chosen, source=stock), chosen, stock)
    if channel is not None:
        for tap in submodel.taps:
            require_channel(tap, STOCK[stock].find(tap).channels, channel)
    return ArtifactSpec(submodel, choose_weights(weights, sha256, source=stock), models_folder(models), options)


def default_options(run: RunOptions | None = None, network: str | None = None, *own: object) -> ExportOptions:
    """Return the default options of a model that is made for a run, with the format that the run's engine prefers.

    Args:
        run: How the model will be run; None means the defaults.
        network: Name of the network; None means ``vgg16``.
        own: What may be given instead: a Keras model, an ONNX network.

    Raises:
        UsageError: There is no such engine.
    """
    require_record("run", run, RunOptions)
    from fmedge.runtime.backends import Wish
    from fmedge.runtime.opening import default_format

    return ExportOptions(default_format(run, Wish.of(network, *own)))


def export_options(network: str | None = None, *own: object) -> ExportOptions:
    """Return the default options of a model that is exported for its own sake: in a format that other programs run.

    Args:
        network: Name of the network; None means ``vgg16``.
        own: What may be given instead: a Keras model, an ONNX network.
    """
    from fmedge.runtime.backends import Wish
    from fmedge.runtime.opening import export_format

    return ExportOptions(export_format(Wish.of(network, *own)))


def _spelled_short(options: ExportOptions, source: str) -> ExportOptions:
    """Remove defaults that were given explicitly from the options, since both mean the same artifact."""
    if options.converter is own_converter(source, options.format, options.precision):
        options = replace(options, converter=None)
    if source in STOCK and options.preprocessing == CAFFE:
        options = replace(options, preprocessing=None)
    return options


def find_artifact(request: ArtifactSpec) -> Artifact | None:
    """Read the artifact if it exists, is intact and is the requested one; otherwise return None."""
    for path in _places(request):
        try:
            artifact = read_artifact(path)
        except ArtifactError:
            continue
        if request.accepts(artifact.card):
            return artifact
    return None


def _places(request: ArtifactSpec) -> list[Path]:
    """Return the paths where the artifact may be: one, or those with any activation's name if that is not known."""
    path = request.path
    if not request.names_its_function or request.functions:
        return [path]
    label, _, *rest = path.name.split(".")
    return sorted(request.folder.glob(".".join([label, "*", *rest])))


TUNED_SUFFIX = ".tuned.json"


def has_choices(folder: Path) -> bool:
    """Tell whether a folder holds a tuned choice; False if the folder does not exist."""
    return next(folder.glob(f"*{TUNED_SUFFIX}"), None) is not None


def tuned_path(request: ArtifactSpec, board: str = "") -> Path:
    """Return the path of a sub-model's tuned choice, next to its models.

    By default it is called ``block3_conv3.tuned.json``, and ``block3_conv3.pi5.tuned.json`` for a board ``pi5``.
    """
    options = ExportOptions(size=request.options.size, preprocessing=request.options.preprocessing)
    name = artifact_name(request.submodel, options, request.weights.token).removesuffix(options.format.suffixes[0])
    name = name.replace(".relu", "").replace(".fp32", "")
    return request.folder / f"{name}{f'.{board}' if board else ''}{TUNED_SUFFIX}"
