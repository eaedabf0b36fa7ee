"""``fmedge run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.ensure import ensure_artifact
from fmedge.errors import UsageError
from fmedge.submodel import ExportOptions, Format, Precision

if TYPE_CHECKING:
    from fmedge.run_options import RunOptions


def run_command(
    images: Annotated[
        list[Path],
        typer.Argument(
            readable=False,
            metavar="IMAGE...",
            help="JPEG, PNG, WebP or BMP files, folders of them, or patterns such as 'photos/**/*.jpg'.",
        ),
    ],
    layer: options.RunLayer = None,
    activation: Annotated[
        Literal["relu", "none", "both"] | None,
        typer.Option(help="Values after ReLU, before it (none), or both on one page. [default: relu]"),
    ] = None,
    channel: Annotated[int | None, typer.Option(help="Draw this channel alone; counted from 0.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="PAGE.html|DIR",
            help="The page; of several images or layers their folder, or of one image a page with all layers. "
            "[default: IMAGE.LAYER.html, here]",
        ),
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Write no page.")] = False,
    save_maps: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="MAPS.npz|DIR",
            help="Save the maps as a NumPy archive too; of several images or layers their folder.",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="SHEET.png|DIR",
            help="Draw all channels as a picture too; of several images or layers their folder.",
        ),
    ] = None,
    values: Annotated[
        Literal["12bit", "float16", "float32"], typer.Option(help="Numbers that the page holds.")
    ] = "12bit",
    plotlyjs: Annotated[
        Literal["embed", "cdn", "file"],
        typer.Option(help="plotly.js: inside the page, from Plotly's server, or in a file beside it."),
    ] = "embed",
    style: Annotated[
        Literal["viewer", "grid"], typer.Option(help="The viewer, or one figure with a heatmap per channel.")
    ] = "viewer",
    model: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="MODEL", help="Run this model file instead of one from --models."),
    ] = None,
    resize: Annotated[
        Literal["nearest", "bilinear", "bicubic", "none"],
        typer.Option(help="How the photo is brought to the model's size; none: not at all."),
    ] = "nearest",
    model_format: Annotated[
        Format | None, typer.Option("--format", help="Kind of model file. [default: the engine's]")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Number format. [default: fp32]")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|HxW|dynamic", help="Size of the model's image. [default: 224]")
    ] = None,
    backend: options.Backend = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    cpus: options.Cpus = None,
    math: options.MathChoice = "fp32",
    allow_fallback: options.AllowFallback = False,
    weights: options.Weights = None,
    keras: options.Keras = None,
    models: options.Models = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn photos into the feature maps of a layer, each on a page."""
    from fmedge import pipeline, provision
    from fmedge.cli.drawing import Drawing, draw
    from fmedge.image_list import expand_images, is_several
    from fmedge.page_options import PageOptions
    from fmedge.request import request_artifact

    if layer is not None and "," in layer:
        raise UsageError(f"--layer {layer}: a run takes one model. For all at once: --layer {layer.replace(',', '+')}")
    both = activation == "both"
    cut = "none" if both else activation
    chosen = (layer, None if both else activation, weights, keras, models, model_format, precision, size)
    if model is not None and any(choice is not None for choice in chosen):
        raise UsageError("--model says which layer, form and weights it holds. Leave those options out.")
    if no_page and output is not None:
        raise UsageError("--no-page writes no page. Leave --output out.")
    drawing = Drawing(
        images=expand_images(images),
        alone=len(images) == 1 and not is_several(images[0]),
        page=output,
        no_page=no_page,
        maps=save_maps,
        sheet=png,
        channel=channel,
        options=PageOptions(values, plotlyjs, both, style),
        resize=resize,
        run=options.run_options(backend, device, threads, cpus, math, allow_fallback),
        as_json=as_json,
    )
    if not no_page:
        pipeline.prepare_page_early()
    if model is not None:
        artifact = provision.open_model(model)
        if both and artifact.card.activation != "none":
            raise UsageError(f"'{model}' ends after ReLU: there is no before. For both, export with --activation none.")
        drawing.require_places(artifact.card.submodel)
    else:
        request = request_artifact(
            layer,
            cut,
            channel=channel,
            weights=weights,
            keras=keras,
            models=models,
            options=_form(drawing.run, model_format, precision, size),
        )
        drawing.require_places(request.submodel)
        artifact = ensure_artifact(request, drawing.run, offline=offline)
    draw(artifact, drawing)


def _form(run: RunOptions, model_format: Format | None, precision: Precision | None, size: str | None) -> ExportOptions:
    """The form of the model that is run; the one place that decides it."""
    from fmedge.runtime import choose_backend

    backend = choose_backend(run, model_format)
    return ExportOptions(
        format=model_format or backend.formats[0],
        precision=precision or Precision.FP32,
        size=options.parse_size(size or "224"),
    )
