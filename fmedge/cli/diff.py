"""``fmedge diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, print_json, print_table, say
from fmedge.cli.ensure_artifact import ensure_artifact, tell_of_guard
from fmedge.errors import FmedgeError, InputsSkipped, ParityError, UsageError
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Precision

if TYPE_CHECKING:
    from fmedge.model.artifact import Artifact
    from fmedge.workflow.difference_runs import ComparedPhotos, Sides

_SHOWN = 5
"""Number of channels in the table; --json has all of them."""


def diff_command(
    first: Annotated[str, typer.Argument(metavar="A", help="A model file, an engine, or MODEL@ENGINE: the reference.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare with it, likewise.")],
    images: Annotated[
        list[Path],
        typer.Argument(
            readable=False,
            metavar="IMAGE...",
            help="JPEG, PNG, WebP or BMP files, folders of them, or patterns; figures are over all of them.",
        ),
    ],
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
    """Compare two models, or two engines, on photos: signal-to-noise ratio, largest error, worst channels."""
    from fmedge.data.image_list import expand_images
    from fmedge.data.images import require_image_file
    from fmedge.runtime.backends import Wish
    from fmedge.runtime.opening import choose_backend
    from fmedge.system.files import require_output, write_bytes
    from fmedge.workflow.difference import parse_side, worst
    from fmedge.workflow.model_files import open_model
    from fmedge.workflow.request import request_artifact

    sides = [parse_side(first), parse_side(second)]
    prepared = options.parse_preprocessing(preprocessing, scale, mean, std, order)
    chosen = (layer, activation, precision, network, weights, keras, onnx, prepared, size, models)
    if all(side.model is not None for side in sides) and any(choice is not None for choice in chosen):
        raise UsageError("Model files determine layer, form and weights. Leave out those options.")
    photos = expand_images(images)
    if len(photos) == 1:
        require_image_file(photos[0])
    require_output(output, ".html")
    wish = Wish.of(network, keras, onnx, precisions=(precision or Precision.FP32,))
    found: list[tuple[Artifact, RunOptions]] = []
    for side in sides:
        run = RunOptions(side.backend, threads=threads, spinning=False)
        if side.model is not None:
            artifact = open_model(side.model)
        else:
            form = ExportOptions(
                choose_backend(run, wish=wish).formats[0],
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
        found.append((artifact, run))
    compared = _compare((found[0], found[1]), photos)
    for artifact, _ in found:
        tell_of_guard(artifact)
    if output is not None:
        write_bytes(output, _page(compared))
    if as_json:
        print_json({"a": first, "b": second, **_data(compared, photos)})
    else:
        _show(compared)
        if output is not None:
            emit(str(output))
    smallest = worst(compared.differences)
    if min_snr is not None and smallest < min_snr:
        raise ParityError(f"{second} agrees with {first} to {smallest:.1f} dB. Allowed: at least {min_snr:g} dB.")
    if skipped := len(compared.errors):
        raise InputsSkipped(f"{skipped} of {len(photos)} images skipped: see the lines above.")


def _compare(sides: Sides, photos: list[Path]) -> ComparedPhotos:
    from fmedge.workflow.difference_runs import compare_photos

    progress = ProgressLine()

    def tell(number: int, error: FmedgeError | None) -> None:
        progress.clear()
        if error is not None:
            say(f"Skipped: {error.in_full()}")
        if len(photos) > 1:
            progress(f"{number} of {len(photos)} images", number / len(photos))

    return compare_photos(sides, photos, tell)


def _page(compared: ComparedPhotos) -> bytes:
    from fmedge.render.difference_page import render_difference

    first, second = compared.shown
    pairs = [(first[each.layer], second[each.layer]) for each in compared.differences]
    return render_difference(pairs, [each.errors for each in compared.differences])


def _data(compared: ComparedPhotos, photos: list[Path]) -> dict[str, Any]:
    """Return the figures for JSON: of several photos over all of them, and of the layers per photo."""
    layers = [each.to_dict() for each in compared.differences]
    if len(photos) == 1:
        return {"image": str(photos[0]), "layers": layers}
    rows = [
        {"image": str(photo), "error": compared.errors[photo].in_full()}
        if photo in compared.errors
        else {
            "image": str(photo),
            "layers": [{"layer": name, "parity": each.to_dict()} for name, each in compared.parities[photo].items()],
        }
        for photo in photos
    ]
    return {"images": len(compared.parities), "layers": layers, "photos": rows}


def _show(compared: ComparedPhotos) -> None:
    for side, maps in zip(("A", "B"), compared.shown, strict=True):
        ran = next(iter(maps.values())).provenance
        emit(f"{side}: {ran.card.format} {ran.card.precision} on {ran.backend}, {ran.placement}")
    for difference in compared.differences:
        each = [parities[difference.layer].snr_db for parities in compared.parities.values()]
        over = f", over {len(each)} photos, {min(each):.1f} to {max(each):.1f} dB" if len(each) > 1 else ""
        emit(f"{difference.layer}: {difference.parity.describe()}{over}")
    deepest = compared.differences[-1]
    print_table(
        [f"{deepest.layer}, worst", "dB", "bias", "max error", "saturated"],
        (
            [
                f"channel {channel.channel}",
                f"{channel.snr_db:.1f}",
                f"{channel.bias:.3g}",
                f"{channel.max_error:.3g}",
                f"{100 * channel.saturated:.2g}%",
            ]
            for channel in deepest.channels[:_SHOWN]
        ),
    )
