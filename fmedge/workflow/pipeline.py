"""The main job: turn images into feature maps, with the model exported first if it is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.image_list import expand_images
from fmedge.data.images import ImageSource, OpenedSource, find_image
from fmedge.errors import FmedgeError, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.run_options import RunOptions
from fmedge.runtime.gate.checks import require_artifact
from fmedge.system.address_space import is_thrifty
from fmedge.system.choices import StrPath, find_path, require_switch
from fmedge.workflow.artifacts import prepare_artifact
from fmedge.workflow.batch import run_many
from fmedge.workflow.extraction import Decode, Extraction, Resizing, Taps, deepest, find_resizing
from fmedge.workflow.layer_names import Layers


def extract(
    image: ImageSource,
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    preprocessing: str | Preprocessing | None = None,
    models: StrPath | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    offline: bool = False,
) -> FeatureMaps:
    """Compute the feature maps of a layer for a photo; export the model first if it is missing.

    Args:
        image: The path of a JPEG, PNG, WebP or BMP file; the bytes of one; a Pillow image, which is turned as its EXIF
            orientation says; or pixels: a uint8 array, (height, width, 3), RGB, 0 to 255. The limits on decoding are
            the same for all.
        layer: Keras' name of the layer; None means ``block1_conv1``. Of several layers (``a+b``, ``["a", "b"]``,
            ``all``) only the deepest is returned; :func:`extract_many` returns all.
        activation: ``relu`` for the layer's own output, or ``none`` for the values before ReLU; None means ``relu``.
        network: As in :func:`export_submodel`.
        weights: As in :func:`export_submodel`.
        keras: The file of a Keras model, instead of a stock network.
        onnx: An ONNX file, instead of a stock network.
        preprocessing: What such a network needs done to pixels; see :class:`fmedge.ExportOptions`.
        models: As in :func:`export_submodel`.
        resize: ``nearest`` (as Keras does), ``bilinear`` or ``bicubic``; ``none`` leaves the photo as it is.
        run: Engine, device, threads; None means the defaults.
        offline: Never access the internet.

    Returns:
        Maps of shape (1, C, H, W), float32, with their provenance.

    Raises:
        FmedgeError: See :func:`request_artifact`, :func:`obtain_artifact` and :func:`run_artifact`.
    """
    source = find_image(image)
    resize = find_resizing(resize)
    require_switch("offline", offline)
    artifact = prepare_artifact(
        layer,
        activation,
        network=network,
        weights=weights,
        keras=keras,
        onnx=onnx,
        preprocessing=preprocessing,
        models=models,
        run=run,
        offline=offline,
    )
    return run_artifact(artifact, source, resize=resize, run=run)


@overload
def extract_many(
    images: StrPath | Iterable[StrPath],
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    preprocessing: str | Preprocessing | None = None,
    models: StrPath | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    offline: bool = False,
    on_error: Callable[[Path, FmedgeError], None] | None = None,
) -> Iterator[tuple[Path, Taps]]: ...


@overload
def extract_many(
    images: Iterable[ImageSource],
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    preprocessing: str | Preprocessing | None = None,
    models: StrPath | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    offline: bool = False,
    on_error: Callable[[OpenedSource, FmedgeError], None] | None = None,
) -> Iterator[tuple[OpenedSource, Taps]]: ...


def extract_many(
    images: StrPath | Iterable[ImageSource],
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    preprocessing: str | Preprocessing | None = None,
    models: StrPath | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    offline: bool = False,
    on_error: Callable[[Any, FmedgeError], None] | None = None,
) -> Iterator[tuple[Any, Taps]]:
    """Compute feature maps for many photos, several at a time; export the model first if it is missing.

    Memory does not grow with the number of photos: only a few are being processed or waiting, and none is kept after it
    is handed over.

    Args:
        images: A folder or a pattern (``photos/**/*.jpg``), or an iterable of images, each of any kind that
            :func:`extract` takes, which is read only as fast as the photos are processed.
        layer: Keras' name of the layer, several names joined by ``+`` or in a sequence, or ``all``; None means
            ``block1_conv1``.
        activation: As in :func:`extract`.
        network: As in :func:`export_submodel`.
        weights: As in :func:`export_submodel`.
        keras: The file of a Keras model, instead of a stock network.
        onnx: An ONNX file, instead of a stock network.
        preprocessing: What such a network needs done to pixels; see :class:`fmedge.ExportOptions`.
        models: As in :func:`export_submodel`.
        resize: As in :func:`extract`.
        run: Engine, device, threads (for all photos together); None means the defaults.
        offline: Never access the internet.
        on_error: Called with an unusable photo and its error, and the photo is skipped; None raises the error when it
            is that photo's turn.

    Yields:
        Each photo, in order (a path as a :class:`pathlib.Path`), with its maps per tap, in the network's order, as from
        :func:`extract`.

    Raises:
        FmedgeError: Immediately as in :func:`request_artifact` and :func:`obtain_artifact`; while iterating as in
            :func:`run_many`.
    """
    if isinstance(images, (bytes, Image.Image, np.ndarray)):
        raise UsageError("images: got one image. Allowed: a folder, a pattern, or several images, such as a list.")
    several = isinstance(images, (str, os.PathLike))
    found = expand_images([find_path("images", images)]) if several else map(find_image, images)
    resize = find_resizing(resize)
    require_switch("offline", offline)
    artifact = prepare_artifact(
        layer,
        activation,
        network=network,
        weights=weights,
        keras=keras,
        onnx=onnx,
        preprocessing=preprocessing,
        models=models,
        run=run,
        offline=offline,
    )
    return _extract_each(artifact, found, resize, run, on_error)


def _extract_each(
    artifact: Artifact,
    images: Iterable[OpenedSource],
    resize: Resizing,
    run: RunOptions | None,
    on_error: Callable[[Any, FmedgeError], None] | None,
) -> Iterator[tuple[OpenedSource, Taps]]:
    with closing(run_many(artifact, images, lambda _, maps: maps, resize=resize, run=run)) as results:
        for image, found in results:
            if not isinstance(found, FmedgeError):
                yield image, found
            elif on_error is None:
                raise found
            else:
                on_error(image, found)


def run_artifact(
    artifact: Artifact, image: OpenedSource, *, resize: Resizing = "nearest", run: RunOptions | None = None
) -> FeatureMaps:
    """Run a model on one photo.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        resize: How the photo is resized for the model; ``none`` leaves it as it is.
        run: Engine, device, threads; None means the defaults.

    Returns:
        Maps of shape (1, C, H, W), float32, of the model's deepest tap.

    Raises:
        FmedgeError: See :func:`run_taps`.
    """
    return deepest(run_taps(artifact, image, resize=resize, run=run))


def run_taps(
    artifact: Artifact,
    image: OpenedSource,
    *,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    decode: Decode | None = None,
) -> Taps:
    """Run a model on one photo, as :func:`run_artifact` does, but return the maps of all its taps.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        resize: How the photo is resized for the model; ``none`` leaves it as it is.
        run: Engine, device, threads; None means the defaults.
        decode: As in :meth:`fmedge.workflow.extraction.Extraction.load`.

    Raises:
        ImageError: The photo cannot be decoded.
        LimitExceeded: The photo is too large, or memory ran out.
        BackendUnavailable: The engine is not installed.
        ProviderUnavailable: The device cannot be used here.
    """
    from fmedge.runtime.opening import open_session

    require_artifact(artifact)  # before anything is allocated as large as the card says
    run = replace(run or RunOptions(), spinning=False, once=True)
    job = Extraction(artifact.card, resize, run)
    if is_thrifty():  # one after another: an engine that runs out of memory may end the process
        images = job.load(image, decode)
        with open_session(artifact, run) as session:
            return job.maps(session, images)
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(job.load, image, decode)  # decode the photo while the session opens, which takes 0.1 s
        with open_session(artifact, run) as session:
            return job.maps(session, loading.result())
