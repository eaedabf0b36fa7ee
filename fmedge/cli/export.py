"""``fmedge export``."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, logged_lines, print_json, print_table, say
from fmedge.errors import UsageError
from fmedge.model.stock import STOCK, find_network
from fmedge.model.submodel import Activation, Converter, ExportOptions, Format, Precision

if TYPE_CHECKING:
    from fmedge.model.artifact import Artifact
    from fmedge.model.card import ModelCard
    from fmedge.workflow.request import ArtifactSpec

_SHOWN_SHAPES = 3
"""Most output shapes that fit into a line."""


def export_command(
    layer: options.LayerList = "block1_conv1",
    every_layer: Annotated[
        bool, typer.Option("--all", help="All layers of a stock network, one artifact each.")
    ] = False,
    activation: options.ActivationChoice = Activation.RELU,
    model_format: options.FormatList = None,
    precision: options.PrecisionList = "fp32",
    calibration: options.Calibration = None,
    size: options.Size = None,
    batch: options.Batch = "dynamic",
    image_type: Annotated[
        Literal["uint8", "float32"], typer.Option("--input", help="Element type of the image (values 0 to 255).")
    ] = "uint8",
    output_layout: Annotated[
        Literal["nchw", "nhwc"] | None,
        typer.Option(help="Layout of the outputs. [default: nhwc for TFLite, else nchw]"),
    ] = None,
    tap: Annotated[
        Literal["int8", "float"], typer.Option(help="With int8: how the last convolution is computed.")
    ] = "int8",
    seven_bit: Annotated[
        bool, typer.Option("--seven-bit", help="With int8: 7-bit weights, safe on x86 without VNNI.")
    ] = False,
    converter: Annotated[
        Converter | None,
        typer.Option(help="What writes the model. [default: direct where possible, else TensorFlow's]"),
    ] = None,
    network: options.Network = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    preprocessing: options.Preprocessing = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    std: options.Std = None,
    order: options.Order = None,
    models: options.Models = None,
    with_runtime: Annotated[
        bool,
        typer.Option(
            "--with-runtime", help="With native: also a folder to build and run the model elsewhere, without Python."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be written, write nothing.")] = False,
    no_verify: options.NoVerify = False,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Cut a stock network, a Keras model or an ONNX network after a layer and write the sub-model with its card."""
    from fmedge.runtime.backends import Wish
    from fmedge.runtime.opening import export_format
    from fmedge.workflow.artifacts import require_request
    from fmedge.workflow.layer_names import split_list
    from fmedge.workflow.own_networks import read_own_network
    from fmedge.workflow.request import request_artifact

    stock = find_network(network, keras, onnx)
    own = read_own_network(keras=keras, onnx=onnx)
    widths = options.parse_list(precision, Precision)
    layout = None if output_layout is None else options.LAYOUTS[output_layout]
    wish = Wish.of(network, keras, onnx, precisions=tuple(widths))._replace(converter=converter, layout=layout)
    kinds = [export_format(wish)] if model_format is None else options.parse_list(model_format, Format)
    layers = STOCK[stock].names if every_layer and stock in STOCK else split_list(layer, own.names if own else ())
    prepared = options.parse_preprocessing(preprocessing, scale, mean, std, order)
    requests = [
        request_artifact(
            name,
            activation if "pool" not in name or not every_layer else Activation.RELU,
            network=network,
            weights=weights,
            keras=keras,
            onnx=onnx,
            models=models,
            options=ExportOptions(
                format=kind,
                precision=width,
                converter=converter,
                input_dtype=image_type,
                size=options.parse_size(size),
                batch=options.parse_batch(batch),
                output_layout=layout,
                preprocessing=prepared,
                float_tap=tap == "float",
                seven_bit=seven_bit,
            ),
        )
        for name, kind, width in product(layers, kinds, widths)
    ]
    if len(kinds) > 1 and len(widths) > 1:
        requests = _possible(requests)
    _require_runtimes(requests, with_runtime)
    if dry_run:
        for request in requests:
            require_request(request, calibration or Path())
        _show_plans(requests, as_json, with_runtime)
        return
    artifacts = _export_all(requests, calibration, verify=not no_verify, offline=offline, with_runtime=with_runtime)
    if as_json:
        print_json([_facts(artifact) | _runtime_fact(artifact.path, with_runtime) for artifact in artifacts])


def _require_runtimes(requests: list[ArtifactSpec], wanted: bool) -> None:
    from fmedge.workflow.runtime_folders import require_runtime

    for request in requests if wanted else ():
        require_runtime(request)


def _runtime_fact(model: Path, wanted: bool) -> dict[str, object]:
    from fmedge.workflow.runtime_folders import runtime_folder

    return {"runtime": str(runtime_folder(model))} if wanted else {}


def _possible(requests: list[ArtifactSpec]) -> list[ArtifactSpec]:
    """Leave out the combinations of several formats and precisions that nothing writes, and say so; not all of them."""
    from fmedge.workflow.artifacts import can_be_written

    possible = [request for request in requests if can_be_written(request)]
    left_out = dict.fromkeys(
        f"{request.options.format} {request.options.precision}" for request in requests if request not in possible
    )
    if left_out and possible:
        say(f"Left out, since nothing writes it from this network: {', '.join(left_out)}.")
    return possible or requests


def _export_all(
    requests: list[ArtifactSpec], calibration: Path | None, *, verify: bool, offline: bool, with_runtime: bool
) -> list[Artifact]:
    from fmedge.workflow.artifacts import create_artifact, require_place, require_request
    from fmedge.workflow.runtime_folders import create_runtime_folder

    for request in requests:  # before any work
        require_request(request, calibration)
    for request in requests:
        require_place(request)
    for note in dict.fromkeys(note for request in requests for note in request.notes):
        say(note)
    artifacts: list[Artifact] = []
    folder = None
    for number, request in enumerate(requests, 1):
        start = time.perf_counter()
        with logged_lines():
            artifact = create_artifact(
                request, calibration=calibration, verify=verify, offline=offline, progress=ProgressLine()
            )
        card = artifact.card
        parity = card.parity.describe() if card.parity else "not checked"
        place = f"[{number}/{len(requests)}] " if len(requests) > 1 else ""
        emit(str(artifact.path))
        say(
            f"{place}{artifact.size / 1e6:.2f} MB, {_shows(card)}{card.describe_weights()}, parity: {parity}, "
            f"{time.perf_counter() - start:.1f} s."
        )
        artifacts.append(artifact)
        if with_runtime:
            folder = create_runtime_folder(artifact)
            emit(str(folder))
    last = artifacts[-1]
    if any(_is_faster_with_seven_bits(artifact.card) for artifact in artifacts):
        say("Note: this processor is x86 without VNNI. 7-bit weights are faster here and cost 1 dB: --seven-bit.")
    if last.card.weights.kind == "untrained":
        say("Note: untrained weights. The maps will show random filters, not learned ones.")
    if folder is not None:
        say(f"Next: copy '{folder}' to the other machine; README.txt in it says how it is built.")
    else:
        say(f"Next: fmedge run photo.jpg --model {last.path}")
    return artifacts


def _shows(card: ModelCard) -> str:
    """Describe what a user's own model shows; for stock networks the file name says it."""
    return f"{card.describe_activation()}, " if card.functions else ""


def _facts(artifact: Artifact) -> dict[str, object]:
    return {
        "model": str(artifact.path),
        "size_bytes": artifact.size,
        "card": json.loads(artifact.card.to_json()),
    }


def _show_plans(requests: list[ArtifactSpec], as_json: bool, with_runtime: bool) -> None:
    from fmedge.model.footprint import plan_export

    if any(request.submodel.stock is None for request in requests):
        raise UsageError("--dry-run works only for stock networks. Leave out --keras and --onnx, or export.")
    plans = [(request, plan_export(request.submodel, request.options)) for request in requests]
    if as_json:
        print_json(
            [
                {"model": str(request.path), **_runtime_fact(request.path, with_runtime), **asdict(plan)}
                for request, plan in plans
            ]
        )
        return
    print_table(
        ["would write", "outputs C x H x W", "parameters", "MMACs", "sees px", "about MB"],
        (
            [
                str(request.path),
                _describe_shapes(list(plan.outputs.values())),
                f"{plan.parameters:,}",
                f"{plan.macs / 1e6:,.1f}",
                str(plan.receptive_field),
                f"{plan.size_bytes / 1e6:.2f}",
            ]
            for request, plan in plans
        ),
    )
    for request in requests if with_runtime else ():
        emit(f"and the folder {_runtime_fact(request.path, with_runtime)['runtime']}")


def _describe_shapes(shapes: list[tuple[int, ...]]) -> str:
    if len(shapes) > _SHOWN_SHAPES:
        return f"of {len(shapes)} layers"
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)


def _is_faster_with_seven_bits(card: ModelCard) -> bool:
    from fmedge.runtime.backends import seven_bits_are_faster

    options = card.options
    eight_bits = options.precision is Precision.INT8 and not options.seven_bit
    return eight_bits and options.format is Format.ONNX and seven_bits_are_faster()
