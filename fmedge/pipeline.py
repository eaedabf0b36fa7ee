"""The main job: make sure the artifact is there, open a session, turn an image into feature maps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fmedge.artifact import Artifact, ModelCard, read_artifact
from fmedge.errors import ArtifactError
from fmedge.feature_maps import FeatureMaps, Provenance
from fmedge.files import create_folder, require_writable, write_bytes
from fmedge.image import Photo, Resize, load_photo
from fmedge.render import render_page
from fmedge.render.plotly_js import prepare as prepare_page
from fmedge.submodel import Activation, Format, Precision, SubModel, find_activation, require_channel
from fmedge.vgg16 import find_layer
from fmedge.weights import WeightsChoice, choose_weights, load_weights

if TYPE_CHECKING:
    from fmedge.download import Progress

DEFAULT_LAYER = "block1_conv1"


def models_folder(folder: Path | str | None = None) -> Path:
    """Where artifacts are: the argument, else ``FMEDGE_MODELS``, else ``models`` in the current folder."""
    return Path(folder or os.environ.get("FMEDGE_MODELS") or "models")


@dataclass(frozen=True, slots=True)
class ArtifactRequest:
    """What an artifact has to be to be taken.

    Attributes:
        submodel: What is cut.
        weights: The weights it holds.
        folder: Where it is, or will be.
        model_format: Kind of file.
        precision: Number format.
    """

    submodel: SubModel
    weights: WeightsChoice
    folder: Path
    model_format: Format = Format.ONNX
    precision: Precision = Precision.FP32

    @property
    def path(self) -> Path:
        """Name of the model file: short for the default choices, one token more for every other."""
        return self.folder / self.submodel.artifact_name(self.model_format, self.precision, self.weights.token)

    def accepts(self, card: ModelCard) -> bool:
        """Whether a model with that card is the one asked for."""
        return (
            card.submodel == self.submodel
            and card.format == self.model_format
            and card.precision == self.precision
            and self.weights.matches(card.weights)
        )


def request_artifact(
    layer: str | None = None,
    activation: str | None = None,
    *,
    channel: int | None = None,
    weights: str | None = None,
    models: Path | str | None = None,
) -> ArtifactRequest:
    """Say which artifact is meant, in plain words.

    Args:
        layer: Keras' name of the layer; None means :data:`DEFAULT_LAYER`.
        activation: ``relu``, or ``none`` for values before ReLU; None means ``relu``.
        channel: A channel that will be looked at; checked here, before any work.
        weights: ``imagenet``, ``untrained`` or a Keras .h5 file; None as in ``choose_weights``.
        models: Folder of the artifacts; None as in :func:`models_folder`.

    Raises:
        UsageError: The layer or the channel does not exist, or the layer has no ReLU to leave out.
        WeightsError: The weights file does not exist.
    """
    submodel = SubModel((layer or DEFAULT_LAYER,), find_activation(activation or Activation.RELU))
    if channel is not None:
        require_channel(submodel.deepest, find_layer(submodel.deepest).channels, channel)
    return ArtifactRequest(submodel, choose_weights(weights), models_folder(models))


def find_artifact(request: ArtifactRequest) -> Artifact | None:
    """Read the artifact if it is there, whole, and the one asked for; None otherwise."""
    try:
        artifact = read_artifact(request.path)
    except ArtifactError:
        return None
    return artifact if request.accepts(artifact.card) else None


def create_artifact(
    request: ArtifactRequest, *, verify: bool = True, offline: bool = False, progress: Progress | None = None
) -> Artifact:
    """Export the artifact, in place of a former one.

    Args:
        request: Which artifact.
        verify: Hold the model against a float64 reference before it is written.
        offline: Never touch the network.
        progress: Told how a download of the weights gets on.

    Raises:
        WeightsError: The weights are missing, damaged or incomplete.
        ParityError: The model does not compute what its weights say; nothing is written.
        BackendUnavailable: There is no engine to verify with.
        WriteError: It cannot be written.
    """
    from fmedge.export import build_artifact  # onnx is not needed where the artifact exists

    create_folder(request.path.parent)
    require_writable(request.path)
    arrays, facts = load_weights(request.weights, request.submodel.deepest, offline=offline, progress=progress)
    return build_artifact(
        request.submodel,
        arrays,
        facts,
        request.path,
        model_format=request.model_format,
        precision=request.precision,
        runner=_run_once if verify else None,
    )


def export_submodel(
    layer: str | None = None,
    activation: str | None = None,
    *,
    weights: str | None = None,
    models: Path | str | None = None,
    verify: bool = True,
    offline: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Cut VGG16 after a layer and write it as a model file with its card.

    Args:
        layer: Keras' name of the layer; None means :data:`DEFAULT_LAYER`.
        activation: ``relu``, or ``none`` for values before ReLU; None means ``relu``.
        weights: ``imagenet``, ``untrained`` or a Keras .h5 file; None asks ``FMEDGE_WEIGHTS``, then ``imagenet``.
        models: Folder to write to; None asks ``FMEDGE_MODELS``, then ``models``.
        verify: Hold the model against a float64 reference before it is written.
        offline: Never touch the network.
        progress: Told how a download of the weights gets on.

    Returns:
        The artifact as written.

    Raises:
        FmedgeError: See :func:`request_artifact` and :func:`create_artifact`.
    """
    request = request_artifact(layer, activation, weights=weights, models=models)
    return create_artifact(request, verify=verify, offline=offline, progress=progress)


def extract(
    image: Path | str,
    layer: str | None = None,
    activation: str | None = None,
    *,
    weights: str | None = None,
    models: Path | str | None = None,
    resize: Resize = "nearest",
    threads: int | None = None,
    offline: bool = False,
) -> FeatureMaps:
    """Turn a photo into the feature maps of a layer; exports the model first where it is missing.

    Args:
        image: JPEG, PNG, WebP or BMP.
        layer: Keras' name of the layer; None means :data:`DEFAULT_LAYER`.
        activation: ``relu``, or ``none`` for values before ReLU; None means ``relu``.
        weights: As in :func:`export_submodel`.
        models: As in :func:`export_submodel`.
        resize: ``nearest`` (as Keras does), ``bilinear`` or ``bicubic``.
        threads: CPU threads; None takes all.
        offline: Never touch the network.

    Returns:
        Maps of shape (1, C, H, W), float32, and what made them.

    Raises:
        FmedgeError: See :func:`request_artifact`, :func:`create_artifact` and :func:`run_artifact`.
    """
    request = request_artifact(layer, activation, weights=weights, models=models)
    artifact = find_artifact(request) or create_artifact(request, offline=offline)
    return run_artifact(artifact, Path(image), resize=resize, threads=threads)


def run_artifact(
    artifact: Artifact, image: Path, *, resize: Resize = "nearest", threads: int | None = None
) -> FeatureMaps:
    """Run a model on one photo.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        resize: How the photo is brought to the model's size.
        threads: CPU threads; None takes all.

    Returns:
        Maps of shape (1, C, H, W), float32, of the model's deepest tap.

    Raises:
        ImageError: The photo cannot be decoded.
        LimitExceeded: The photo is too large, or memory ran out.
        BackendUnavailable: The engine is not installed.
    """
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(load_photo, image, artifact.card.input_size, resize)
        from fmedge.runtime import open_session  # takes 0.1 s: meanwhile the photo is decoded

        with open_session(artifact, threads=threads) as session:
            photo: Photo = loading.result()
            maps = session.run(photo.pixels[np.newaxis])
    layer = artifact.card.submodel.deepest
    provenance = Provenance(
        card=artifact.card,
        image_name=photo.name,
        image_size=photo.original_size,
        resize=resize,
        backend=session.backend,
        active_provider=session.active_provider,
        threads=session.threads,
    )
    return FeatureMaps(maps[layer], layer, provenance, photo.pixels[np.newaxis])


def make_page(
    artifact: Artifact,
    image: Path,
    page: Path,
    *,
    channel: int | None = None,
    save_maps: Path | None = None,
    resize: Resize = "nearest",
    threads: int | None = None,
) -> FeatureMaps:
    """Run a model on one photo and write the page, and the maps where wanted.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        page: The HTML file to write.
        channel: Draw this channel alone; None draws all.
        save_maps: The .npz file to write too.
        resize: How the photo is brought to the model's size.
        threads: CPU threads; None takes all.

    Returns:
        The maps that were drawn.

    Raises:
        UsageError: The layer has no such channel.
        WriteError: A file cannot be written.
        FmedgeError: See :func:`run_artifact`.
    """
    if channel is not None:
        require_channel(artifact.card.submodel.deepest, artifact.card.channels, channel)
    require_writable(page)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(prepare_page)  # while the engine loads
        maps = run_artifact(artifact, image, resize=resize, threads=threads)
        if save_maps is not None:
            maps.save(save_maps)
        write_bytes(page, render_page(maps, channel=channel))
    return maps


def page_name(image: Path, submodel: SubModel, channel: int | None = None) -> str:
    """Default file name of a page: image and layer, and what is not the default."""
    activation = None if submodel.activation is Activation.RELU else submodel.activation
    words = [image.stem, submodel.label, activation, None if channel is None else f"channel{channel}", "html"]
    return ".".join(filter(None, words))


def _run_once(artifact: Artifact, images: npt.NDArray[np.uint8]) -> Mapping[str, npt.NDArray[np.float32]]:
    from fmedge.runtime import open_session

    with open_session(artifact) as session:
        return session.run(images)
