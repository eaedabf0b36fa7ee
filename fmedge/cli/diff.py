"""``fmedge diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmedge.cli import options
from fmedge.cli.console import emit, print_json, print_table
from fmedge.cli.ensure_artifact import ensure_artifact, tell_of_guard
from fmedge.errors import ParityError, UsageError
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Precision

if TYPE_CHECKING:
    from fmedge.workflow.difference import Difference
    from fmedge.workflow.extraction import Taps

_SHOWN = 5
"""Number of channels in the table; --json has all of them."""


def diff_command(
    first: Annotated[str, typer.Argument(metavar="A", help="A model file, an engine, or MODEL@ENGINE: the reference.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare with it, likewise.")],
    image: Annotated[Path, typer.Argument(readable=False, metavar="IMAGE", help="JPEG, PNG, WebP or BMP.")],
    min_snr: Annotated[
        float | None, typer.Option(help="Exit with 4 if the SNR of B against A is below this, in dB.")
    ] = None,
    layer: Annotated[str | None, options.of_run("layer")] = None,
    activation: options.OptionalActivation = None,
    precision: Annotated[Precision | None, typer.Option(help="With engines: number format. [default: fp32]")] = None,
    threads: options.Threads = None,
    network: options.Network = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    preprocessing: options.Preprocessing = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    std: options.Std = None,
    order: options.Order = None,
    size: options.Size = None,
    models: options.Models = None,
    offline: options.Offline = False,
    output: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="PAGE.html", help="Also draw both and their difference on a page."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare two models, or two engines, on a photo: signal-to-noise ratio, largest error, worst channels."""
    from fmedge.data.images import require_image_file
    from fmedge.runtime.opening import choose_backend
    from fmedge.system.files import require_output, write_bytes
    from fmedge.workflow.difference import compare_maps, parse_side, worst
    from fmedge.workflow.model_files import open_model
    from fmedge.workflow.pipeline import run_taps
    from fmedge.workflow.request import request_artifact

    sides = [parse_side(first), parse_side(second)]
    prepared = options.parse_preprocessing(preprocessing, scale, mean, std, order)
    chosen = (layer, activation, precision, network, weights, keras, onnx, prepared, size, models)
    if all(side.model is not None for side in sides) and any(choice is not None for choice in chosen):
        raise UsageError("Model files determine layer, form and weights. Leave out those options.")
    require_image_file(image)
    require_output(output, ".html")
    found: list[Taps] = []
    for side in sides:
        run = RunOptions(side.backend, threads=threads, spinning=False)
        if side.model is not None:
            artifact = open_model(side.model)
        else:
            form = ExportOptions(
                choose_backend(run).formats[0],
                precision or Precision.FP32,
                size=options.parse_size(size),
                preprocessing=prepared,
            )
            request = request_artifact(
                layer,
                activation,
                network=network,
                weights=weights,
                keras=keras,
                onnx=onnx,
                models=models,
                options=form,
            )
            artifact = ensure_artifact(request, run, offline=offline)
        found.append(run_taps(artifact, image, run=run))
        tell_of_guard(artifact)
    differences = compare_maps(*found)
    if output is not None:
        write_bytes(output, _page(found, differences))
    if as_json:
        print_json({"a": first, "b": second, "image": str(image), "layers": [each.to_dict() for each in differences]})
    else:
        _show(found, differences)
        if output is not None:
            emit(str(output))
    smallest = worst(differences)
    if min_snr is not None and smallest < min_snr:
        raise ParityError(f"{second} agrees with {first} to {smallest:.1f} dB. Allowed: at least {min_snr:g} dB.")


def _page(found: list[Taps], differences: list[Difference]) -> bytes:
    from fmedge.render.difference_page import render_difference

    first, second = found
    layers = [difference.layer for difference in differences]
    return render_difference(
        [(first[layer], second[layer]) for layer in layers], [difference.snr_db for difference in differences]
    )


def _show(found: list[Taps], differences: list[Difference]) -> None:
    for side, maps in zip(("A", "B"), found, strict=True):
        ran = next(iter(maps.values())).provenance
        emit(f"{side}: {ran.card.format} {ran.card.precision} on {ran.backend}, {ran.placement}")
    for difference in differences:
        emit(f"{difference.layer}: {difference.parity.describe()}")
    deepest = differences[-1]
    print_table(
        [f"{deepest.layer}, worst", "dB", "max error"],
        (
            [f"channel {channel.channel}", f"{channel.snr_db:.1f}", f"{channel.max_error:.3g}"]
            for channel in deepest.channels[:_SHOWN]
        ),
    )
