"""``fmedge run``, as Typer shows and reads it; :mod:`fmedge.cli.run_job` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.model.submodel import Format, Precision


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
        typer.Option(
            help="Values after the layer's activation, before it (none), or both on one page. [default: relu]"
        ),
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
    max_pixels: options.MaxPixels = None,
    model_format: Annotated[
        Format | None, typer.Option("--format", help="Kind of model file. [default: the engine's]")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Number format. [default: fp32]")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW|dynamic", help="Size of the model's image. [default: the Keras model's own; 224]"),
    ] = None,
    tuned: Annotated[
        bool | None,
        typer.Option(
            "--tuned/--untuned",
            help="Take what fmedge tune chose, be it less exact, or not. [default: where it is exact, made here]",
        ),
    ] = None,
    backend: options.Backend = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    cpus: options.Cpus = None,
    math: options.MathChoice = "fp32",
    allow_fallback: options.AllowFallback = False,
    weights: options.Weights = None,
    keras: options.Keras = None,
    preprocessing: options.Preprocessing = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    std: options.Std = None,
    order: options.Order = None,
    models: options.Models = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn photos into the feature maps of a layer, each on a page."""
    from fmedge.cli.run_job import run

    run(
        images,
        layer=layer,
        activation=activation,
        channel=channel,
        output=output,
        no_page=no_page,
        save_maps=save_maps,
        png=png,
        values=values,
        plotlyjs=plotlyjs,
        style=style,
        model=model,
        resize=resize,
        max_pixels=max_pixels,
        model_format=model_format,
        precision=precision,
        size=size,
        backend=backend,
        device=device,
        threads=threads,
        cpus=cpus,
        math=math,
        tuned=tuned,
        allow_fallback=allow_fallback,
        weights=weights,
        keras=keras,
        preprocessing=preprocessing,
        scale=scale,
        mean=mean,
        std=std,
        order=order,
        models=models,
        offline=offline,
        as_json=as_json,
    )
