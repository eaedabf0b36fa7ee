"""Make an artifact, describe it, and check it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fmedge.errors import UsageError
from fmedge.model.artifact import (
    Artifact,
    artifact_paths,
)
from fmedge.model.footprint import run_bytes, weight_bytes
from fmedge.model.preprocessing import NONE, Preprocessing
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import (
    KERAS,
    ONNX,
    Converter,
    Precision,
)
from fmedge.model.weights import load_weights
from fmedge.system.address_space import EXPORT, TENSORFLOW, require_floor
from fmedge.system.choices import StrPath
from fmedge.system.files import create_folder, require_writable
from fmedge.system.memory import require_memory
from fmedge.system.processor import require_processor
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.layer_names import Layers
from fmedge.workflow.request import (
    ArtifactSpec,
    default_options,
    find_artifact,
    request_artifact,
)

if TYPE_CHECKING:
    from fmedge.export.network import Network


def require_request(request: ArtifactSpec, calibration: Path | None) -> None:
    """Check, before any work, that an artifact can be exported as requested.

    Raises:
        UsageError: The options contradict each other, or there are no photos for the int8 ranges.
        LimitExceeded: A run of the model, or the export, would not fit into memory.
        BackendUnavailable: The converter needs instructions that the processor does not have.
    """
    from fmedge.export.exporter import find_exporter, require_options

    require_options(request.submodel, request.options)
    converter = find_exporter(request.submodel.source, request.options).converter
    light = converter is Converter.DIRECT or request.submodel.source == ONNX
    if not light:
        require_processor("TensorFlow")
    layers = request.submodel.stock_layers
    require_floor(EXPORT if light else TENSORFLOW, model_bytes=weight_bytes(layers))
    if layers:
        size = request.options.size or INPUT_SIZE
        wanted = run_bytes(layers, request.options.batch or 1, *size)
        require_memory(f"A batch of {request.options.batch or 1} images of {size[0]} x {size[1]}", wanted)
    if request.options.precision is Precision.INT8 and calibration is None:
        raise UsageError(
            "int8 takes its ranges from photos.", hint="Make the model with: fmedge export --calibration DIR."
        )


def can_be_written(request: ArtifactSpec) -> bool:
    """Return whether there is an exporter for an artifact's network, format and precision."""
    from fmedge.export.exporter import find_exporter

    try:
        find_exporter(request.submodel.source, request.options)
    except UsageError:
        return False
    return True


def require_place(request: ArtifactSpec) -> None:
    """Create an artifact's folder and check, before any work, that the artifact can be written there.

    Raises:
        WriteError: It cannot.
    """
    create_folder(request.folder)
    require_writable(*artifact_paths(request.path, request.options.format))


def prepare_artifact(
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    preprocessing: str | Preprocessing | None = None,
    models: StrPath | None = None,
    run: RunOptions | None = None,
    offline: bool = False,
) -> Artifact:
    """Return the model that a Python user asks for, exported first if it is missing.

    Args:
        layer: As in :func:`fmedge.extract`; so are all but the next.
        activation: ``relu`` or ``none``.
        size: Height and width that the model is exported for; None takes the network's own.
        network: A stock network.
        weights: Its weights.
        keras: A Keras model.
        onnx: An ONNX network.
        preprocessing: What such a network needs done to pixels.
        models: Folder of the models.
        run: How the model will be run.
        offline: Never access the internet.

    Raises:
        FmedgeError: See :func:`request_artifact` and :func:`obtain_artifact`.
    """
    options = replace(default_options(run, network, keras, onnx), preprocessing=preprocessing)
    options = options if size is None else replace(options, size=size)
    request = request_artifact(
        layer,
        activation,
        network=network,
        weights=weights,
        keras=keras,
        onnx=onnx,
        models=models,
        options=options,
    )
    return obtain_artifact(request, offline=offline)


def obtain_artifact(
    request: ArtifactSpec,
    *,
    calibration: Path | None = None,
    verify: bool = True,
    offline: bool = False,
    run: RunOptions | None = None,
    on_export: Callable[[ArtifactSpec], None] = lambda _: None,
    progress: Progress = no_progress,
) -> Artifact:
    """Read the artifact if it exists, is intact and is the requested one; otherwise export it.

    Args:
        request: Which artifact.
        calibration: As in :func:`create_artifact`.
        verify: As in :func:`create_artifact`.
        offline: As in :func:`create_artifact`.
        run: As in :func:`create_artifact`.
        on_export: As in :func:`create_artifact`.
        progress: As in :func:`create_artifact`.

    Raises:
        FmedgeError: See :func:`create_artifact`.
    """
    return find_artifact(request) or create_artifact(
        request,
        calibration=calibration,
        verify=verify,
        offline=offline,
        run=run,
        on_export=on_export,
        progress=progress,
    )


def create_artifact(
    request: ArtifactSpec,
    *,
    network: Network | None = None,
    calibration: Path | None = None,
    verify: bool = True,
    offline: bool = False,
    run: RunOptions | None = None,
    on_export: Callable[[ArtifactSpec], None] = lambda _: None,
    progress: Progress = no_progress,
) -> Artifact:
    """Export the artifact, replacing an earlier one.

    Args:
        request: Which artifact.
        network: The network to cut, if it is already loaded.
        calibration: Folder of photos; int8 needs one, and the parity check uses it.
        verify: Compare the model with a reference before it is written.
        offline: Never access the internet.
        run: Engine and device of the parity check; None means the defaults.
        on_export: Called when the checks that are possible in advance have passed and the work begins.
        progress: Receives the progress of a download of the weights, and of the calibration.

    Raises:
        UsageError: The options contradict each other, or the calibration folder is unusable.
        WeightsError: The weights are missing, damaged or incomplete.
        ParityError: The model does not compute what the network computes; nothing is written.
        BackendUnavailable: There is no engine to verify with, or no converter.
        WriteError: A file cannot be written.
    """
    from fmedge.export.calibration import read_calibration  # not needed if the artifact exists
    from fmedge.export.exporter import build_artifact

    require_request(request, calibration)
    require_place(request)
    on_export(request)
    photos = None
    if calibration is not None:
        photos = read_calibration(calibration, progress=progress)
    network = network or load_network(request, offline, progress)
    request = replace(request, functions=network.functions(request.submodel))
    return build_artifact(
        request.submodel,
        network,
        request.path,
        options=request.options,
        calibration=photos,
        runner=partial(run_batches, run=run) if verify else None,
    )


def load_network(request: ArtifactSpec, offline: bool, progress: Progress) -> Network:
    """Return the network that an artifact is cut from."""
    from fmedge.export.stock_network import StockNetwork

    preprocessing = request.options.preprocessing or NONE
    if request.submodel.source == ONNX:
        from fmedge.export.onnx_source.network import load_onnx_network

        return load_onnx_network(request.weights, preprocessing)
    if request.submodel.source == KERAS:
        from fmedge.export.tensorflow.keras_network import load_keras_network

        return load_keras_network(request.weights, preprocessing)
    source = request.submodel.source
    arrays, facts = load_weights(
        request.weights, request.submodel.deepest, source=source, offline=offline, progress=progress
    )
    return StockNetwork(arrays, facts, source)


def reference_maps(
    request: ArtifactSpec,
    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    *,
    offline: bool = False,
    progress: Progress = no_progress,
) -> Mapping[str, npt.NDArray[np.floating]]:
    """Compute a sub-model's maps of images from its weights, with code that shares nothing with the engines.

    A stock network is computed in NumPy and float64, an ONNX network in float64 by onnx, a Keras model by Keras.

    Args:
        request: Which sub-model and weights.
        images: RGB, 0 to 255, of shape (N, H, W, 3).
        offline: Never access the internet.
        progress: Receives the progress of a download of the weights.

    Returns:
        Per tap: (N, C, H, W).

    Raises:
        WeightsError: The weights cannot be obtained.
    """
    return load_network(request, offline, progress).reference(request.submodel, images)


def run_batches(
    artifact: Artifact,
    batches: Iterable[npt.NDArray[np.uint8] | npt.NDArray[np.float32]],
    run: RunOptions | None = None,
) -> Iterator[Mapping[str, npt.NDArray[np.float32]]]:
    """Run a model on one batch of images after another; by default on the first engine that takes its format."""
    from fmedge.runtime.opening import open_session

    with open_session(artifact, replace(run or RunOptions(), spinning=False)) as session:
        for images in batches:
            yield session.run(images)
