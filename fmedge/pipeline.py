"""The main job: open a session on an artifact, turn an image into feature maps, and those into a page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Literal

import numpy as np
import numpy.typing as npt

from fmedge.artifact import Artifact, ModelCard
from fmedge.errors import UsageError
from fmedge.feature_maps import FeatureMaps, Provenance
from fmedge.files import require_writable, write_bytes
from fmedge.image import Photo, Resize, load_photo
from fmedge.memory import require_memory, vgg16_bytes
from fmedge.provision import create_artifact, find_artifact, request_artifact
from fmedge.render import render_page
from fmedge.render.plotly_js import prepare as prepare_page
from fmedge.run_options import RunOptions
from fmedge.submodel import VGG16, Activation, SubModel, require_channel
from fmedge.vgg16 import INPUT_SIZE


def extract(
    image: Path | str,
    layer: str | None = None,
    activation: str | None = None,
    *,
    weights: str | None = None,
    models: Path | str | None = None,
    resize: Resize | Literal["none"] = "nearest",
    threads: int | None = None,
    offline: bool = False,
) -> FeatureMaps:
    """Turn a photo into the feature maps of a layer; exports the model first where it is missing.

    Args:
        image: JPEG, PNG, WebP or BMP.
        layer: Keras' name of the layer; None means ``block1_conv1``.
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
    artifact: Artifact, image: Path, *, resize: Resize | Literal["none"] = "nearest", threads: int | None = None
) -> FeatureMaps:
    """Run a model on one photo.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        resize: How the photo is brought to the model's size; ``none`` leaves it as it is.
        threads: CPU threads; None takes all.

    Returns:
        Maps of shape (1, C, H, W), float32, of the model's deepest tap.

    Raises:
        ImageError: The photo cannot be decoded.
        LimitExceeded: The photo is too large, or memory ran out.
        BackendUnavailable: The engine is not installed.
    """
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(_load_for, artifact.card, image, resize)
        from fmedge.runtime import open_session  # takes 0.1 s: meanwhile the photo is decoded

        with open_session(artifact, RunOptions(threads=threads, spinning=False)) as session:
            photo: Photo = loading.result()
            _require_room(artifact.card, photo)
            maps = session.run(_batch(artifact.card, photo))
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
    return FeatureMaps(maps[layer][:1], layer, provenance, photo.pixels[np.newaxis])


def _load_for(card: ModelCard, image: Path, resize: Resize | Literal["none"]) -> Photo:
    """Decode a photo and bring it to the size that a model takes."""
    size = card.options.size
    if resize != "none":
        return load_photo(image, size or INPUT_SIZE, resize)
    photo = load_photo(image, None)
    if size is not None and photo.original_size != size:
        got, wanted = (" x ".join(map(str, extents)) for extents in (photo.original_size, size))
        raise UsageError(
            f"'{image}' is {got}, the model takes {wanted}. Leave out --resize none, or export with --size dynamic."
        )
    return photo


def _require_room(card: ModelCard, photo: Photo) -> None:
    """Check that a photo of its own size can be run; a model's fixed size was checked when it was exported."""
    if card.options.size is None and card.submodel.source == VGG16:
        height, width = photo.pixels.shape[:2]
        wanted = vgg16_bytes(card.submodel.deepest, card.options.batch or 1, height, width)
        require_memory(f"A photo of {height} x {width}", wanted)


def _batch(card: ModelCard, photo: Photo) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """A photo as the batch that a model takes, repeated where its size is fixed."""
    images = np.repeat(photo.pixels[np.newaxis], card.options.batch or 1, axis=0)
    return images if card.options.input_dtype == "uint8" else images.astype(np.float32)


def make_page(
    artifact: Artifact,
    image: Path,
    page: Path,
    *,
    channel: int | None = None,
    save_maps: Path | None = None,
    resize: Resize | Literal["none"] = "nearest",
    threads: int | None = None,
) -> FeatureMaps:
    """Run a model on one photo and write the page, and the maps where wanted.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        page: The HTML file to write.
        channel: Draw this channel alone; None draws all.
        save_maps: The .npz file to write too.
        resize: How the photo is brought to the model's size; ``none`` leaves it as it is.
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
    maps = run_artifact(artifact, image, resize=resize, threads=threads)
    if save_maps is not None:
        maps.save(save_maps)
    write_bytes(page, render_page(maps, channel=channel))
    return maps


def prepare_page_early() -> None:
    """Begin to pack plotly.js for a page that will be made, in a thread: beside what has to come first."""
    Thread(target=prepare_page, daemon=True).start()


_LONGEST_STEM = 100
"""Letters of an image's name that its page's name keeps: file systems allow 255 bytes in all."""


def page_name(image: Path, submodel: SubModel, channel: int | None = None) -> str:
    """Default file name of a page: image and layer, and what is not the default."""
    activation = None if submodel.activation is Activation.RELU else submodel.activation
    words = [
        image.stem[:_LONGEST_STEM],
        submodel.label,
        activation,
        None if channel is None else f"channel{channel}",
        "html",
    ]
    return ".".join(filter(None, words))
