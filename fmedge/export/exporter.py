"""Build a model, hold it against the reference, and only then let it have its name."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmedge import __version__, trust
from fmedge.artifact import Artifact, files_sha256, write_artifact
from fmedge.card import ModelCard, TensorSpec
from fmedge.errors import ArtifactError, BackendUnavailable, ParityError, UsageError
from fmedge.export.calibration import Calibration
from fmedge.export.network import Images, Network
from fmedge.floors import is_shortage, shortage
from fmedge.image import parity_image
from fmedge.install import install_command
from fmedge.parity import GATES, Parity, gate_for, measure_parity
from fmedge.preprocessing import CAFFE
from fmedge.submodel import (
    KERAS,
    VGG16,
    Converter,
    ExportOptions,
    Format,
    Precision,
    SubModel,
    own_converter,
)
from fmedge.vgg16 import VGG16_LAYERS, find_layer

Runner = Callable[[Artifact, Iterable[Images]], Iterator[Mapping[str, npt.NDArray[np.float32]]]]
"""Runs a model on batches of images and yields (N, C, H, W) per tap for each. Handed in, so that export needs to know
no engine."""

Simulation = Callable[[Images], Mapping[str, npt.NDArray[np.floating]]]
"""Computes what a model stands for, (N, C, H, W) per tap, by something that shares nothing with the engines."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """A row of the table of exporters.

    Attributes:
        format: What it writes.
        converter: With what.
        precisions: Number formats it can write.
        sources: Networks it takes.
        module: Where it is; imported when used. It has ``build_model(card, network, calibration) -> Built``.
        extra: The pip extra it needs; empty for none.
    """

    format: Format
    converter: Converter
    precisions: tuple[Precision, ...]
    sources: tuple[str, ...]
    module: str
    extra: str


@dataclass(frozen=True, slots=True)
class Built:
    """What an exporter's module returns.

    Attributes:
        model: Content of the model file, the card's facts inside.
        card: The card with its tools and recipe filled in.
        weights: Content of the second file, where the format has one.
        simulations: What the model has to compute, where that is not what the network computes: no worse than the best
            of them.
    """

    model: bytes
    card: ModelCard
    weights: bytes = b""
    simulations: tuple[Simulation, ...] = ()


_FLOAT = (Precision.FP32, Precision.FP16)

EXPORTERS: tuple[Exporter, ...] = (
    Exporter(Format.ONNX, Converter.DIRECT, _FLOAT, (VGG16,), "fmedge.export.onnx_direct", ""),
    Exporter(Format.ONNX, Converter.DIRECT, (Precision.INT8,), (VGG16,), "fmedge.export.onnx_int8", ""),
    Exporter(Format.TFLITE, Converter.DIRECT, (Precision.INT8,), (VGG16,), "fmedge.export.tflite_int8", "litert"),
    Exporter(Format.NCNN, Converter.DIRECT, _FLOAT, (VGG16,), "fmedge.export.ncnn_direct", ""),
    Exporter(Format.ONNX, Converter.TF2ONNX, _FLOAT, (VGG16, KERAS), "fmedge.export.onnx_tf2onnx", "export"),
    Exporter(Format.TFLITE, Converter.TENSORFLOW, tuple(Precision), (VGG16, KERAS), "fmedge.export.tflite", "export"),
)
"""Every way to write a model file."""

LARGEST_HALF = float(np.finfo(np.float16).max)
"""65,504: what is larger becomes infinite in float16."""

_OPEN_SIZE = (160, 224)
"""Height and width of the parity image where the model leaves them open: not a square, to tell them apart."""


def find_exporter(source: str, options: ExportOptions) -> Exporter:
    """The row of the table that writes what is asked for.

    Raises:
        UsageError: There is none; the message names the nearest possible choice.
    """
    converter = options.converter or own_converter(source, options.format, options.precision)
    rows = [row for row in EXPORTERS if source in row.sources]
    for row in rows:
        if (row.format, row.converter) == (options.format, converter) and options.precision in row.precisions:
            return row
    asked = f"{options.format} {options.precision} by {converter}"
    what = "a Keras model of your own" if source == KERAS else "stock weights"

    def distance(row: Exporter) -> tuple[bool, bool, bool]:
        return row.format != options.format, options.precision not in row.precisions, row.converter != converter

    near = min(rows, key=distance)
    precision = options.precision if options.precision in near.precisions else near.precisions[-1]
    raise UsageError(
        f"Cannot write {asked} from {what}. Nearest: --format {near.format} --precision {precision} "
        f"--converter {near.converter}."
    )


def require_options(submodel: SubModel, options: ExportOptions) -> None:
    """Check options against each other and the network.

    Raises:
        UsageError: They contradict each other.
    """
    exporter = find_exporter(submodel.source, options)
    if options.precision is not Precision.INT8 and (options.float_tap or options.seven_bit):
        raise UsageError("--tap float and --seven-bit belong to --precision int8. Add it, or leave them out.")
    if exporter.converter is not Converter.DIRECT and (options.float_tap or options.seven_bit):
        raise UsageError("--tap float and --seven-bit belong to int8 straight from stock weights. Leave them out.")
    if options.float_tap and find_layer(submodel.deepest).kind == "pool":
        raise UsageError(f"--tap float: the last layer has to be a convolution, '{submodel.deepest}' is a pool.")
    if submodel.source == VGG16 and options.preprocessing not in (None, CAFFE):
        raise UsageError("--preprocessing belongs to --keras: stock VGG16 has its own, caffe. Leave it out.")
    row = (options.format, options.precision, exporter.converter)
    if row == (Format.TFLITE, Precision.INT8, Converter.DIRECT) and options.size is None:
        raise UsageError("int8 TFLite needs a size. Give --size N or HxW, or take --format onnx.")
    if options.format is Format.NCNN and options.layout != "NCHW":
        raise UsageError("ncnn's own layout is NCHW, and it knows no other. Leave --output-layout out.")
    if options.batch is not None and options.batch < 1:
        raise UsageError(f"--batch {options.batch}: at least 1 is needed. Allowed: 1, 2, 3… or dynamic.")
    if submodel.source == VGG16 and options.size is not None:
        stride = next(spec.stride for spec in VGG16_LAYERS if spec.name == submodel.deepest)
        if min(options.size) < stride:
            asked = "x".join(map(str, options.size))
            raise UsageError(f"--size {asked} is too small for {submodel.deepest}. Allowed: {stride} or more each way.")


def build_artifact(
    submodel: SubModel,
    network: Network,
    path: Path,
    *,
    options: ExportOptions | None = None,
    calibration: Calibration | None = None,
    runner: Runner | None,
) -> Artifact:
    """Export a sub-model: model file and card.

    Args:
        submodel: What to cut.
        network: What to cut it from.
        path: Final name of the model file.
        options: In which form; None takes the defaults.
        calibration: Photos that int8's ranges are taken from; also used for the parity check.
        runner: Runs the model for the parity check; None leaves the check out, and the card says so.

    Returns:
        The artifact as written.

    Raises:
        UsageError: The options contradict each other.
        BackendUnavailable: What the converter needs is not installed.
        ParityError: The model does not compute what the weights say; nothing is written.
        WriteError: It could not be written.
    """
    options = options or ExportOptions()
    require_options(submodel, options)
    submodel = network.ordered(submodel)
    exporter = find_exporter(submodel.source, options)
    try:
        module = importlib.import_module(exporter.module)
    except (ImportError, BackendUnavailable) as error:
        if is_shortage(error):
            raise shortage(error) from error
        raise BackendUnavailable(
            f"Making {options.format} {options.precision} by {exporter.converter} needs what is not installed. "
            f"Here or elsewhere: {install_command(exporter.extra)}, then fmedge export --format {options.format}."
        ) from error
    built: Built = module.build_model(describe(submodel, network, options), network, calibration)
    if exporter.converter is not Converter.DIRECT:
        gc.collect()  # TensorFlow's graphs and their weights are held in circles, 60 MB each at full depth
    card = replace(built.card, predicted_db=_predict_on_parity_image(built, network))
    artifact = own_artifact(path, card, built.model, built.weights)
    card = artifact.card
    if runner is not None:
        try:
            parity = check(artifact, network, runner, calibration, built.simulations)
        except ArtifactError as error:  # what an engine says of a file: here there is none yet
            said = str(error).partition(" Export it again")[0]
            raise ArtifactError(
                f"{said} Nothing was written. Try another --format or --size, or cut earlier."
            ) from error
        parity.require(path.name)
        card = replace(card, parity=parity)
    return write_artifact(path, built.model, card, built.weights)


def _predict_on_parity_image(built: Built, network: Network) -> dict[str, float]:
    if not built.simulations:
        return {}
    images = _parity_images(built.card)
    return predict(built.simulations, images, network.reference(built.card.submodel, images))


def predict(
    simulations: Sequence[Simulation], images: Images, expected: Mapping[str, npt.NDArray[np.floating]]
) -> dict[str, float]:
    """The signal-to-noise ratio per tap, in dB, that a model has to reach, but for the engine's own rounding.

    Args:
        simulations: What it has to compute; the best of them counts. Without any, nothing is predicted.
        images: What they run on; of several the worst counts.
        expected: Per tap what the network gives for them.
    """
    if not simulations:
        return {}
    every = [simulate(images) for simulate in simulations]
    gate = GATES["fp32"]  # more than its bound is asked of nobody

    def reach(name: str, index: int) -> float:
        best = max(measure_parity(found[name][index], expected[name][index], gate).snr_db for found in every)
        return round(min(best, gate.min_snr_db), 2)

    return {name: min(reach(name, index) for index in range(len(images))) for name in expected}


def own_artifact(path: Path, card: ModelCard, model: bytes, weights: bytes = b"", *, lasting: bool = True) -> Artifact:
    """A model that was just built, remembered as ours: it runs in this process.

    Args:
        path: What it is called, written or not.
        card: Its card; the hash is filled in.
        model: Content of the file.
        weights: Content of the second file, where the format has one.
        lasting: Whether later processes remember it, too.
    """
    complete = replace(card, file_sha256=files_sha256(model, weights))
    trust.remember(complete, lasting=lasting)
    return Artifact(path, complete, model, weights)


def describe(submodel: SubModel, network: Network, options: ExportOptions) -> ModelCard:
    """The card of a model that is about to be built."""
    image = "image"
    while image in submodel.taps:
        image += "_"
    return ModelCard(
        submodel=submodel,
        options=options,
        weights=network.facts,
        inputs=(TensorSpec(image, options.input_dtype, (options.batch, *(options.size or (None, None)), 3), "NHWC"),),
        outputs=tuple(_output(name, network, options) for name in submodel.taps),
        preprocessing=network.preprocessing,
        functions=network.functions(submodel),
        tools={"fmedge": __version__},
    )


def _output(name: str, network: Network, options: ExportOptions) -> TensorSpec:
    channels, height, width = network.output_shape(name, options.size)
    if options.layout == "NCHW":
        return TensorSpec(name, "float32", (options.batch, channels, height, width), "NCHW")
    return TensorSpec(name, "float32", (options.batch, height, width, channels), "NHWC")


def check(
    artifact: Artifact,
    network: Network,
    runner: Runner,
    calibration: Calibration | None = None,
    simulations: Sequence[Simulation] = (),
) -> Parity:
    """Run a model and hold it against the reference.

    Args:
        artifact: The model.
        network: What it was cut from.
        runner: Runs it.
        calibration: Photos to run it on; None, or a model of open size, takes the parity image. A card with predictions
            is held to them on the parity image in any case.
        simulations: What the model has to compute.

    Returns:
        The agreement at the tap and image that agree least, with that tap's gate; of several sets of images the first
        counts unless another one fails.

    Raises:
        ParityError: With fp16: a layer's values are too large for it.
    """
    card = artifact.card
    sets: list[Images] = []
    if calibration is not None:
        sets.append(calibration.some(card.options.batch or 1, card.options.size or _OPEN_SIZE))
    if calibration is None or card.predicted_db:
        sets.append(_parity_images(card))
    sets = [images.astype(card.options.input_dtype) for images in sets]
    if card.precision is Precision.FP16:
        _require_half_range(network.largest_values(card.submodel, sets[0]))
    worst: list[Parity] = []
    for images, found in zip(sets, runner(artifact, sets), strict=True):
        expected = network.reference(card.submodel, images)
        on_noise = bool(card.predicted_db) and images is sets[-1]
        predicted = card.predicted_db if on_noise else predict(simulations, images, expected)
        gates = {
            name: gate_for(card.precision, name, predicted.get(name), on_noise=on_noise) for name in card.submodel.taps
        }
        parities = (
            measure_parity(found[name][index], expected[name][index], gate)
            for name, gate in gates.items()
            for index in range(len(images))
        )
        worst.append(min(parities, key=lambda parity: (parity.passed, parity.snr_db - parity.gate.min_snr_db)))
    return next((parity for parity in worst if not parity.passed), worst[0])


def _require_half_range(values: Mapping[str, float]) -> None:
    layer = max(values, key=values.__getitem__)
    if values[layer] > LARGEST_HALF:
        raise ParityError(
            f"{layer} reaches {values[layer]:,.0f}: beyond float16's {LARGEST_HALF:,.0f}. Use --precision fp32."
        )


def _parity_images(card: ModelCard) -> npt.NDArray[np.uint8]:
    image = parity_image(*(card.options.size or _OPEN_SIZE))
    return np.stack([np.roll(image, 31 * index, axis=1) for index in range(card.options.batch or 1)])
