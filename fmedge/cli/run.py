"""``fmedge run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, print_json, say
from fmedge.errors import UsageError

if TYPE_CHECKING:
    from fmedge.artifact import Artifact
    from fmedge.pipeline import ArtifactRequest


def run_command(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="JPEG, PNG, WebP or BMP.")],
    layer: options.OptionalLayer = None,
    activation: options.OptionalActivation = None,
    channel: Annotated[int | None, typer.Option(help="Draw this channel alone; counted from 0.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="PAGE.html", help="The page. [default: IMAGE.LAYER.html, here]")
    ] = None,
    save_maps: Annotated[
        Path | None, typer.Option(metavar="MAPS.npz", help="Save the maps as a NumPy archive too.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Run this model file instead of one from --models.")
    ] = None,
    resize: Annotated[
        Literal["nearest", "bilinear", "bicubic"], typer.Option(help="How the photo is brought to the model's size.")
    ] = "nearest",
    threads: Annotated[int | None, typer.Option(help="CPU threads. [default: one per core]")] = None,
    weights: options.Weights = None,
    models: options.Models = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn a photo into the feature maps of a layer, on one page."""
    from fmedge import pipeline
    from fmedge.artifact import read_artifact
    from fmedge.files import require_output
    from fmedge.image import require_image_file

    if model is not None and (layer or activation or weights or models):
        raise UsageError("--model says which layer, activation and weights it holds. Leave those options out.")
    require_output(output, ".html")
    require_output(save_maps, ".npz")
    require_image_file(image)
    if model is not None:
        artifact = read_artifact(model)
    else:
        request = pipeline.request_artifact(layer, activation, channel=channel, weights=weights, models=models)
        artifact = pipeline.find_artifact(request) or _export(request, offline)
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
    from fmedge.pipeline import create_artifact

    say(f"Exporting {request.path} first: it is not there, or not the one asked for.")
    return create_artifact(request, offline=offline, progress=ProgressLine())
