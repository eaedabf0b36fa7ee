"""Do what ``fmedge run`` is asked for, whichever parser read the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmedge.cli.ensure_artifact import ensure_artifact, tell_of_guard
from fmedge.cli.parsing import parse_preprocessing, parse_size
from fmedge.cli.run_command import RunCommand
from fmedge.cli.run_request import adopted_choice, drawing_of, request_for, require_agreement
from fmedge.model.activations import require_both
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import Activation, ExportOptions, Precision, format_of
from fmedge.system import prefetch
from fmedge.system.files import is_file
from fmedge.system.reading import digest

if TYPE_CHECKING:
    from fmedge.cli.run_outputs import Drawing
    from fmedge.model.preprocessing import Preprocessing
    from fmedge.model.run_options import RunOptions
    from fmedge.runtime.backends import Wish
    from fmedge.workflow.extraction import Decode


def run(asked: RunCommand) -> None:
    """Turn photos into the feature maps of a layer, each on a page.

    Raises:
        FmedgeError: See :func:`fmedge.cli.run_outputs.draw` and :func:`fmedge.cli.ensure_artifact.ensure_artifact`.
    """
    if asked.on not in (None, "local"):
        from fmedge.cli.run_on_board import run_on_board

        run_on_board(asked)
        return
    sha256 = None
    if asked.weights is not None and is_file(Path(asked.weights)):
        sha256 = prefetch.start(digest, Path(asked.weights), "sha256")  # 30 ms, during the imports
    from fmedge.cli.run_outputs import draw
    from fmedge.workflow.pages import load_early
    from fmedge.workflow.request import has_choices, models_folder

    prepared = parse_preprocessing(asked.preprocessing, asked.scale, asked.mean, asked.std, asked.order)
    settled = require_agreement(asked, prepared)
    drawing = drawing_of(asked)
    look = not settled and asked.tuned is not False and has_choices(models_folder(asked.models))
    early = None if look else asked.model_format if asked.model is None else format_of(asked.model.name)
    if not look:
        load_early(drawing.run, early, _wish(asked))
    if asked.model is not None:
        from fmedge.workflow.model_files import open_model

        artifact = open_model(asked.model)
        drawing.require_places(artifact.card.submodel)
    else:
        form = _form(asked, drawing.run, prepared)
        drawing = replace(drawing, decode=_decode(asked, drawing, form))
        request = request_for(asked, form, sha256)
        drawing.require_places(request.submodel)
        adopted = adopted_choice(request, drawing.run, anyway=bool(asked.tuned)) if look or asked.tuned else None
        if adopted is not None:
            drawing = replace(drawing, run=adopted.run)
        artifact = adopted.artifact if adopted else ensure_artifact(request, drawing.run, offline=asked.offline)
    if asked.activation == "both":
        card = artifact.card
        for tap in card.submodel.taps:
            require_both(tap, card.function_of(tap), before=card.activation is Activation.NONE)
    draw(artifact, drawing)
    tell_of_guard(artifact)


def _decode(asked: RunCommand, drawing: Drawing, form: ExportOptions) -> Decode | None:
    """Start decoding the photo where there is one and the size of the model is known already."""
    from fmedge.cli.run_outputs import names_folder
    from fmedge.data.images import load_photo

    folders = any(map(names_folder, (asked.output, asked.save_maps, asked.png)))
    if not drawing.alone or folders or asked.resize == "none" or (asked.keras, asked.onnx) != (None, None):
        return None
    return prefetch.start(load_photo, drawing.images[0], form.size or INPUT_SIZE, asked.resize, asked.max_pixels)


def _wish(asked: RunCommand) -> Wish:
    """Return what the model has to be, for the choice of an engine."""
    from fmedge.runtime.backends import Wish

    return Wish.of(asked.network, asked.keras, asked.onnx, precisions=(asked.precision or Precision.FP32,))


def _form(asked: RunCommand, run: RunOptions, preprocessing: str | Preprocessing | None) -> ExportOptions:
    """Decide the form of the model that is run; this is the only place that does."""
    from fmedge.runtime.opening import choose_backend

    backend = choose_backend(run, asked.model_format, _wish(asked))
    return ExportOptions(
        format=asked.model_format or backend.formats[0],
        precision=asked.precision or Precision.FP32,
        size=parse_size(asked.size),
        preprocessing=preprocessing,
    )
