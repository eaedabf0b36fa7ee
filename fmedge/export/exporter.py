"""Build a model, compare it with the reference, and only then write it under its final name."""

from __future__ import annotations

import gc
import importlib
from dataclasses import dataclass, replace
from pathlib import Path

from fmedge._version import __version__
from fmedge.errors import ArtifactError, BackendUnavailable, UsageError
from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.judging import Runner, check, predict_on_parity_image
from fmedge.export.network import Network
from fmedge.model import known_models
from fmedge.model.artifact import Artifact, files_sha256, write_artifact
from fmedge.model.card import ModelCard, TensorSpec
from fmedge.model.preprocessing import CAFFE
from fmedge.model.stock import STOCK
from fmedge.model.submodel import (
    KERAS,
    ONNX,
    Converter,
    ExportOptions,
    Format,
    Precision,
    SubModel,
    own_converter,
)
from fmedge.system.address_space import is_shortage, shortage
from fmedge.system.install import install_command


@dataclass(frozen=True, slots=True)
class Exporter:
    """A row of the table of exporters.

    Attributes:
        format: The file format that it writes.
        converter: The tool that it writes with.
        precisions: The precisions that it can write.
        sources: The networks that it accepts.
        module: Its module, imported on use. It defines ``build_model(card, network, calibration) -> Built``.
        extra: The pip extra that it needs; empty if none.
    """

    format: Format
    converter: Converter
    precisions: tuple[Precision, ...]
    sources: tuple[str, ...]
    module: str
    extra: str


_FLOAT = (Precision.FP32, Precision.FP16)
_STOCK = tuple(STOCK)
_NETWORK_INT8 = "fmedge.export.onnx.network_int8"
_NETWORK_NATIVE = "fmedge.export.native.network"

EXPORTERS: tuple[Exporter, ...] = (
    Exporter(Format.ONNX, Converter.DIRECT, _FLOAT, _STOCK, "fmedge.export.onnx.direct", ""),
    Exporter(Format.ONNX, Converter.DIRECT, (Precision.INT8,), _STOCK, "fmedge.export.onnx.int8", ""),
    Exporter(Format.TFLITE, Converter.DIRECT, (Precision.INT8,), _STOCK, "fmedge.export.tflite.int8", "litert"),
    Exporter(Format.NCNN, Converter.DIRECT, _FLOAT, _STOCK, "fmedge.export.ncnn.direct", ""),
    Exporter(Format.NATIVE, Converter.DIRECT, (Precision.FP32,), _STOCK, "fmedge.export.native.direct", ""),
    Exporter(Format.ONNX, Converter.DIRECT, _FLOAT, (ONNX,), "fmedge.export.onnx.cut", ""),
    Exporter(Format.ONNX, Converter.DIRECT, (Precision.INT8,), (ONNX,), _NETWORK_INT8, "cpu"),
    Exporter(Format.ONNX, Converter.TF2ONNX, (Precision.INT8,), (KERAS,), _NETWORK_INT8, "export,cpu"),
    Exporter(Format.NATIVE, Converter.DIRECT, (Precision.FP32,), (ONNX,), _NETWORK_NATIVE, ""),
    Exporter(Format.NATIVE, Converter.TF2ONNX, (Precision.FP32,), (KERAS,), _NETWORK_NATIVE, "export"),
    Exporter(Format.NCNN, Converter.PNNX, _FLOAT, (KERAS, ONNX), "fmedge.export.ncnn.pnnx_route", "export"),
    Exporter(Format.ONNX, Converter.TF2ONNX, _FLOAT, (*_STOCK, KERAS), "fmedge.export.onnx.tf2onnx_route", "export"),
    Exporter(
        Format.TFLITE,
        Converter.TENSORFLOW,
        tuple(Precision),
        (*_STOCK, KERAS),
        "fmedge.export.tflite.converter",
        "export",
    ),
)
"""All ways to write a model file."""


def find_exporter(source: str, options: ExportOptions) -> Exporter:
    """Return the exporter for the requested options.

    Raises:
        UsageError: There is none; the message names the nearest possible choice.
    """
    converter = options.converter or own_converter(source, options.format, options.precision)
    rows = [row for row in EXPORTERS if source in row.sources]
    for row in rows:
        if (row.format, row.converter) == (options.format, converter) and options.precision in row.precisions:
            return row
    asked = f"{options.format} {options.precision} by {converter}"
    what = {KERAS: "your own Keras model", ONNX: "your own ONNX model"}.get(source, "stock weights")

    def distance(row: Exporter) -> tuple[bool, bool, bool]:
        return row.format != options.format, options.precision not in row.precisions, row.converter != converter

    near = min(rows, key=distance)
    precision = options.precision if options.precision in near.precisions else near.precisions[-1]
    raise UsageError(
        f"Cannot write {asked} from {what}.",
        hint=f"Nearest possible: --format {near.format} --precision {precision} --converter {near.converter}.",
    )


def require_options(submodel: SubModel, options: ExportOptions) -> None:
    """Check that the options fit each other and the network.

    Raises:
        UsageError: They contradict each other.
    """
    exporter = find_exporter(submodel.source, options)
    if options.precision is not Precision.INT8 and (options.float_tap or options.seven_bit):
        raise UsageError(
            "tap float and seven_bit need precision int8. Add it, or leave them out.",
            flags=("--tap", "--seven-bit", "--precision"),
        )
    own = exporter.module == _NETWORK_INT8
    if exporter.converter is not Converter.DIRECT and not own and (options.float_tap or options.seven_bit):
        raise UsageError(
            "tap float and seven_bit need int8 written directly from stock weights. Leave them out.",
            flags=("--tap", "--seven-bit"),
        )
    if own and options.float_tap:
        raise UsageError(
            "tap float needs stock weights: taps of your own network have 8 bits, a step per channel. Leave it out.",
            flags=("--tap",),
        )
    if options.float_tap and submodel.stock_layers[-1].kind == "pool":
        raise UsageError(
            f"tap float: the last layer must be a convolution; '{submodel.deepest}' is a pooling layer.",
            flags=("--tap",),
        )
    if submodel.stock is not None and options.preprocessing not in (None, CAFFE):
        raise UsageError(
            f"preprocessing applies only to keras and onnx: {submodel.stock.title} always uses caffe. Leave it out.",
            flags=("--preprocessing", "--keras", "--onnx"),
        )
    row = (options.format, options.precision, exporter.converter)
    if row == (Format.TFLITE, Precision.INT8, Converter.DIRECT) and options.size is None:
        raise UsageError("int8 TFLite needs a size.", hint="Give --size N or HxW, or use --format onnx.")
    if options.format in (Format.NCNN, Format.NATIVE) and options.layout != "NCHW":
        raise UsageError(f"{options.format} has only the layout NCHW.", hint="Leave out --output-layout.")
    if options.batch is not None and options.batch < 1:
        raise UsageError(f"batch {options.batch} is out of range. Allowed: 1, 2, 3… or dynamic.", flags=("--batch",))
    if submodel.stock is not None and options.size is not None:
        stride = submodel.stock_layers[-1].stride
        if min(options.size) < stride:
            asked = "x".join(map(str, options.size))
            raise UsageError(
                f"size {asked} is too small for {submodel.deepest}. Allowed: {stride} x {stride} or larger.",
                flags=("--size",),
            )


def build_artifact(
    submodel: SubModel,
    network: Network,
    path: Path,
    *,
    options: ExportOptions | None = None,
    calibration: Calibration | None = None,
    runner: Runner | None,
) -> Artifact:
    """Export a sub-model: build it, check it, and write the model file and its card.

    Args:
        submodel: The sub-model to cut.
        network: The network to cut it from.
        path: Final name of the model file.
        options: The form of the model; None means the defaults.
        calibration: Photos for the int8 ranges; also used for the parity check.
        runner: Runs the model for the parity check; None skips the check, and the card says so.

    Returns:
        The artifact as written.

    Raises:
        UsageError: The options contradict each other.
        BackendUnavailable: A package that the converter needs is not installed.
        ParityError: The model does not compute what the network computes; nothing is written.
        ArtifactError: The engine refuses the model; nothing is written.
        WriteError: A file cannot be written.
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
            f"Making {options.format} {options.precision} by {exporter.converter} needs packages not installed.",
            hint=f"Here or on another machine: {install_command(exporter.extra)}, then "
            f"fmedge export --format {options.format}.",
        ) from error
    built: Built = module.build_model(describe(submodel, network, options), network, calibration)
    if exporter.converter is not Converter.DIRECT:
        gc.collect()  # TensorFlow's graphs and their weights are in reference cycles, 60 MB each at full depth
    card = replace(built.card, predicted_db=predict_on_parity_image(built.card, built.simulations, network))
    artifact = own_artifact(path, card, built.model, built.weights)
    card = artifact.card
    if runner is not None:
        try:
            parity = check(artifact, network, runner, calibration, built.simulations)
        except ArtifactError as error:  # the engine's message speaks of a file, but nothing is written yet
            advice = "" if error.hint.startswith("Export it again") else error.hint
            raise ArtifactError(
                str(error),
                hint=f"{advice} Nothing was written. Try another --format or --size, or cut earlier.".strip(),
            ) from error
        parity.require(path.name)
        card = replace(card, parity=parity)
    return write_artifact(path, built.model, card, built.weights)


def own_artifact(path: Path, card: ModelCard, model: bytes, weights: bytes = b"", *, lasting: bool = True) -> Artifact:
    """Return a model that was just built as an artifact, recorded as our own so that it may run in this process.

    Args:
        path: Name of the model file, whether it is written or not.
        card: Its card; the hash is filled in here.
        model: Content of the file.
        weights: Content of the second file, if the format has one.
        lasting: Whether later processes remember it too.
    """
    complete = replace(card, file_sha256=files_sha256(model, weights))
    known_models.remember(complete, lasting=lasting)
    return Artifact(path, complete, model, weights)


def describe(submodel: SubModel, network: Network, options: ExportOptions) -> ModelCard:
    """Return the card of a model that is about to be built."""
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
        views=network.views(submodel, options.size),
        tools={"fmedge": __version__},
    )


def _output(name: str, network: Network, options: ExportOptions) -> TensorSpec:
    channels, height, width = network.output_shape(name, options.size)
    if options.layout == "NCHW":
        return TensorSpec(name, "float32", (options.batch, channels, height, width), "NCHW")
    return TensorSpec(name, "float32", (options.batch, height, width, channels), "NHWC")
