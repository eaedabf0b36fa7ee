"""What ``fmedge run`` does, however its words were read."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fmedge.cli.console import logged_lines, say
from fmedge.cli.ensure_artifact import ensure_artifact, tell_of_guard
from fmedge.cli.parsing import parse_preprocessing, parse_size, run_options
from fmedge.data.page_options import PageOptions, PlotlyPlace, Style, Values
from fmedge.errors import UsageError
from fmedge.model.activations import require_both
from fmedge.model.run_options import Math
from fmedge.model.submodel import Activation, ExportOptions, Format, Precision, format_of
from fmedge.model.vgg16 import INPUT_SIZE
from fmedge.system import prefetch
from fmedge.system.files import is_file
from fmedge.system.reading import digest

if TYPE_CHECKING:
    from fmedge.model.preprocessing import Preprocessing
    from fmedge.model.run_options import RunOptions
    from fmedge.workflow.request import ArtifactSpec
    from fmedge.workflow.tuned_choice import Adopted


def run(
    images: list[Path],
    *,
    layer: str | None = None,
    activation: Literal["relu", "none", "both"] | None = None,
    channel: int | None = None,
    output: Path | None = None,
    no_page: bool = False,
    save_maps: Path | None = None,
    png: Path | None = None,
    values: Values = "12bit",
    plotlyjs: PlotlyPlace = "embed",
    style: Style = "viewer",
    model: Path | None = None,
    resize: Literal["nearest", "bilinear", "bicubic", "none"] = "nearest",
    max_pixels: int | None = None,
    model_format: Format | None = None,
    precision: Precision | None = None,
    size: str | None = None,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    cpus: str | None = None,
    math: Math = "fp32",
    tuned: bool | None = None,
    allow_fallback: bool = False,
    weights: str | None = None,
    keras: Path | None = None,
    preprocessing: str | None = None,
    scale: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    order: Literal["rgb", "bgr"] | None = None,
    models: Path | None = None,
    offline: bool = False,
    as_json: bool = False,
) -> None:
    """Turn photos into the feature maps of a layer, each on a page; the arguments are the command's options.

    Raises:
        FmedgeError: See :func:`fmedge.cli.run_outputs.draw` and :func:`fmedge.cli.ensure_artifact.ensure_artifact`.
    """
    if weights is not None and is_file(Path(weights)):
        prefetch.begin(digest, Path(weights), "sha256")  # 30 ms, beside the imports
    from fmedge.cli.run_outputs import Drawing, draw, names_folder
    from fmedge.data.image_list import expand_images, is_several
    from fmedge.data.images import load_photo
    from fmedge.workflow import artifacts, pipeline
    from fmedge.workflow.request import has_choices, models_folder, request_artifact

    if layer is not None and re.search(r"(?<!\\),", layer):
        raise UsageError(f"--layer {layer}: a run takes one model. For all at once: --layer {layer.replace(',', '+')}")
    both = activation == "both"
    prepared = parse_preprocessing(preprocessing, scale, mean, std, order)
    chosen = (layer, None if both else activation, weights, keras, models, model_format, precision, size, prepared)
    if model is not None and any(choice is not None for choice in chosen):
        raise UsageError("--model says which layer, form and weights it holds. Leave those options out.")
    settled = (model, keras, model_format, precision, backend) != (None,) * 5 or device != "cpu" or math != "fp32"
    if tuned and settled:
        raise UsageError("--tuned says engine, device, form and arithmetic. Leave those options out.")
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
        run=replace(run_options(backend, device, threads, cpus, math, allow_fallback), max_pixels=max_pixels),
        as_json=as_json,
    )
    look = not settled and tuned is not False and has_choices(models_folder(models))
    early = None if look else model_format if model is None else format_of(model.name)
    pipeline.prepare_early(None if look else drawing.run, early, page=not no_page)
    if model is not None:
        artifact = artifacts.open_model(model)
        drawing.require_places(artifact.card.submodel)
    else:
        form = _form(drawing.run, model_format, precision, size, prepared)
        folders = any(map(names_folder, (output, save_maps, png)))
        if drawing.alone and not folders and resize != "none" and keras is None:  # whose size is not known yet
            prefetch.begin(load_photo, drawing.images[0], form.size or INPUT_SIZE, resize, max_pixels)
        request = request_artifact(
            layer,
            "none" if both else activation,
            channel=channel,
            weights=weights,
            keras=keras,
            models=models,
            options=form,
        )
        drawing.require_places(request.submodel)
        adopted = _adopt(request, drawing.run, anyway=bool(tuned)) if look or tuned else None
        if adopted is not None:
            drawing = replace(drawing, run=adopted.run)
        artifact = adopted.artifact if adopted else ensure_artifact(request, drawing.run, offline=offline)
    if both:
        card = artifact.card
        for tap in card.submodel.taps:
            require_both(tap, card.function_of(tap), before=card.activation is Activation.NONE)
    draw(artifact, drawing)
    tell_of_guard(artifact)


def _adopt(request: ArtifactSpec, run: RunOptions, *, anyway: bool) -> Adopted | None:
    from fmedge.workflow.tuned_choice import adopt

    with logged_lines():
        adopted = adopt(request, run, anyway=anyway)
    if adopted is not None:
        say(adopted.words)
    return adopted


def _form(
    run: RunOptions,
    model_format: Format | None,
    precision: Precision | None,
    size: str | None,
    preprocessing: str | Preprocessing | None,
) -> ExportOptions:
    """The form of the model that is run; the one place that decides it."""
    from fmedge.runtime.opening import choose_backend

    backend = choose_backend(run, model_format)
    return ExportOptions(
        format=model_format or backend.formats[0],
        precision=precision or Precision.FP32,
        size=parse_size(size),
        preprocessing=preprocessing,
    )
