"""``fmedge run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, print_json, say
from fmedge.errors import UsageError
from fmedge.submodel import ExportOptions, Format, Precision

if TYPE_CHECKING:
    from fmedge.artifact import Artifact
    from fmedge.provision import ArtifactRequest


def run_command(
    image: Annotated[Path, typer.Argument(readable=False, metavar="IMAGE", help="JPEG, PNG, WebP or BMP.")],
    layer: options.OptionalLayer = None,
    activation: options.OptionalActivation = None,
    channel: Annotated[int | None, typer.Option(help="Draw this channel alone; counted from 0.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="PAGE.html", help="The page. [default: IMAGE.LAYER.html, here]"),
    ] = None,
    save_maps: Annotated[
        Path | None, typer.Option(readable=False, metavar="MAPS.npz", help="Save the maps as a NumPy archive too.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="MODEL", help="Run this model file instead of one from --models."),
    ] = None,
    resize: Annotated[
        Literal["nearest", "bilinear", "bicubic", "none"],
        typer.Option(help="How the photo is brought to the model's size; none: not at all."),
    ] = "nearest",
    model_format: Annotated[Format | None, typer.Option("--format", help="Kind of model file. [default: onnx]")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Number format. [default: fp32]")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW|dynamic", help="Size of the model's image. [default: 224]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. [default: one per core]")] = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    models: options.Models = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn a photo into the feature maps of a layer, on one page."""
    from fmedge import pipeline, provision
    from fmedge.files import require_output
    from fmedge.image import require_image_file

    if layer is not None and "," in layer:
        raise UsageError(f"--layer {layer}: a run draws one layer. Run once for each; fmedge export takes them all.")
    chosen = (layer, activation, weights, keras, models, model_format, precision, size)
    if model is not None and any(choice is not None for choice in chosen):
        raise UsageError("--model says which layer, form and weights it holds. Leave those options out.")
    require_output(output, ".html")
    require_output(save_maps, ".npz")
    require_image_file(image)
    pipeline.prepare_page_early()
    if model is not None:
        artifact = provision.open_model(model)
    else:
        request = provision.request_artifact(
            layer,
            activation,
            channel=channel,
            weights=weights,
            keras=keras,
            models=models,
            options=ExportOptions(
                format=model_format or Format.ONNX,
                precision=precision or Precision.FP32,
                size=options.parse_size(size or "224"),
            ),
        )
        artifact = provision.find_artifact(request) or _export(request, offline)
    page = output or Path(pipeline.page_name(image, artifact.card.submodel, channel))
    maps = pipeline.make_page(
        artifact, image, page, channel=channel, save_maps=save_maps, resize=resize, threads=threads
    )
    if artifact.card.weights.kind == "untrained":
        say("Note: untrained weights. The maps show random filters, not learned ones.")
    ran = maps.provenance
    if as_json:
        print_json(
            {"page": str(page), "maps": save_maps and str(save_maps), "model": str(artifact.path), **ran.facts()}
        )
        return
    shape = " x ".join(map(str, maps.maps.shape[1:]))
    say(f"{maps.layer}: {shape}, on {ran.active_provider} with {ran.threads} threads.")
    emit(str(page))


def _export(request: ArtifactRequest, offline: bool) -> Artifact:
    from fmedge.provision import create_artifact, require_request

    require_request(request, None)
    say(f"Exporting {request.path} first: it is not there, or not the one asked for.")
    return create_artifact(request, offline=offline, progress=ProgressLine(), warn=say)
