"""``fmedge run --on``: make the model here, run it on a board, and bring the results here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fmedge.cli.console import emit, print_json
from fmedge.cli.ensure_artifact import ensure_artifact
from fmedge.cli.on_boards import (
    ENGINES,
    fmedge_step,
    model_inputs,
    on_each,
    raise_first,
    refusing_answers,
    require_one,
    trust_step,
)
from fmedge.cli.parsing import parse_preprocessing, parse_size
from fmedge.cli.run_command import OPTIONS, RunCommand
from fmedge.cli.run_request import adopted_choice, drawing_of, request_for, require_agreement
from fmedge.errors import BackendUnavailable, BoardUnavailable, UsageError
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.runtime.backends import find_backend
from fmedge.system.files import create_folder
from fmedge.system.serde import parse
from fmedge.workflow.model_files import open_model
from fmedge.workflow.output_paths import Outputs, name_outputs, page_name, require_no_image

if TYPE_CHECKING:
    from fmedge.boards.jobs import Job, Runner
    from fmedge.cli.on_boards import Done
    from fmedge.cli.run_outputs import Drawing
    from fmedge.model.artifact import Artifact
    from fmedge.model.preprocessing import Preprocessing
    from fmedge.model.submodel import SubModel

_PASSED_ON = (
    *("channel", "values", "plotlyjs", "style", "resize", "max_pixels", "backend", "device", "threads", "cpus", "math"),
    "allow_fallback",
)
"""Arguments that the board's command gets as they are; the model's are settled here."""

_FLAGS = {"page": "output", "maps": "save_maps", "sheet": "png"}
"""The kinds of results, and the arguments that name them."""


class _Plan(NamedTuple):
    """Where results are written.

    Attributes:
        words: The options that say so on the board.
        places: For each path there the one here.
    """

    words: list[str]
    places: dict[str, Path]


def run_on_board(asked: RunCommand) -> None:
    """Turn photos into the feature maps of layers on a board.

    Raises:
        UsageError: There are several boards, or options do not fit.
        InputsSkipped: Some images could not be used.
        FmedgeError: The model cannot be made, the board cannot be reached, or its command failed.
    """
    name = require_one(asked.on or "", "a run")
    prepared = parse_preprocessing(asked.preprocessing, asked.scale, asked.mean, asked.std, asked.order)
    settled = require_agreement(asked, prepared)
    if asked.backend is not None and asked.backend not in ENGINES:
        raise UsageError(f"Boards have no engine '{asked.backend}'. Allowed: {', '.join(ENGINES)}.")
    drawing = drawing_of(asked)
    if asked.model is not None:
        artifact = open_model(asked.model)
        drawing.require_places(artifact.card.submodel)
    else:
        request = request_for(asked, _form(asked, prepared), None)
        drawing.require_places(request.submodel)
        adopted = None
        if not settled and asked.tuned is not False:
            run = RunOptions(threads=asked.threads)
            adopted = adopted_choice(request, run, anyway=bool(asked.tuned), board=name)
        if adopted is not None:
            artifact, run = adopted.artifact, adopted.run
            asked = asked._replace(backend=run.backend, threads=run.threads, math=run.math)
        else:
            artifact = ensure_artifact(request, RunOptions(), offline=asked.offline)
    _run(name, asked, artifact, drawing)


def _form(asked: RunCommand, prepared: str | Preprocessing | None) -> ExportOptions:
    """Return the form of the model: the engine's own, or ONNX, which the first engine of boards runs."""
    kind = asked.model_format or (find_backend(asked.backend).formats[0] if asked.backend else Format.ONNX)
    if kind is Format.NATIVE:
        raise BackendUnavailable("Boards have no engine for models of the format native.", hint="Use --format onnx.")
    return ExportOptions(kind, asked.precision or Precision.FP32, size=parse_size(asked.size), preprocessing=prepared)


def _run(name: str, asked: RunCommand, artifact: Artifact, drawing: Drawing) -> None:
    photos = {f"in/photos/{number:06}/{image.name}": image for number, image in enumerate(drawing.images)}
    plan = _plan(artifact.card.submodel, drawing, [Path(each) for each in photos])
    require_no_image(drawing.images, [Outputs(path) for path in plan.places.values()])
    for folder in {path.parent for path in plan.places.values()}:
        create_folder(folder)

    def run_one(_: Runner, run: Callable[[Job], Done]) -> Done:
        return run(_job(asked, artifact, photos, plan))

    found = on_each([name], run_one)
    raise_first(found)
    done: Any = found[name]
    if asked.as_json and done.out:
        names = {board: str(here) for board, here in (*photos.items(), *plan.places.items())}
        with refusing_answers(name):
            print_json(_renamed(parse(done.out), names))
    for board, path in plan.places.items() if not asked.as_json else ():
        if board in done.ended.found and (path.suffix == ".html" or asked.no_page):
            emit(str(path))
    done.require_success()
    if len(done.ended.found) < len(plan.places):
        raise BoardUnavailable(f"The board '{name}' has not made all results.")


def _plan(submodel: SubModel, drawing: Drawing, photos: Sequence[Path]) -> _Plan:
    """Decide where results are written there and here."""
    there = replace(
        drawing,
        images=[*photos],
        page=None if drawing.no_page else Path("out/pages"),
        maps=drawing.maps and Path("out/maps"),
        sheet=drawing.sheet and Path("out/sheets"),
    )
    if drawing.is_single(submodel):
        page = drawing.page or Path(page_name(drawing.images[0], submodel, drawing.channel, drawing.options))
        here = Outputs(None if drawing.no_page else page, drawing.maps, drawing.sheet)
        kinds = {"page": "page.html", "maps": "maps.npz", "sheet": "sheet.png"}
        files = {kind: f"out/{file}" for kind, file in kinds.items() if getattr(here, kind)}
        return _Plan(_flags(files), {path: getattr(here, kind) for kind, path in files.items()})
    folders = {kind: str(getattr(there, kind)) for kind in _FLAGS if getattr(there, kind)}
    places: dict[str, Path] = {}
    if drawing.is_one_page(submodel):
        folders["page"] = "out/page.html"
        places["out/page.html"] = drawing.page or Path()
        drawing, there = replace(drawing, page=None, no_page=True), replace(there, page=None, no_page=True)
    for board, here in zip(_named(submodel, there), _named(submodel, drawing), strict=True):
        places |= {str(one): other for one, other in zip(board.paths, here.paths, strict=True)}
    return _Plan(_flags(folders), places)


def _named(submodel: SubModel, drawing: Drawing) -> list[Outputs]:
    """Return the files of many images or taps, in order."""
    named = name_outputs(
        drawing.images,
        submodel,
        pages=None if drawing.no_page else drawing.page or Path(),
        maps=drawing.maps,
        sheets=drawing.sheet,
        channel=drawing.channel,
        options=drawing.options,
    )
    return [outputs for taps in named.values() for outputs in taps.values()]


def _flags(places: Mapping[str, str]) -> list[str]:
    return [word for kind, path in places.items() for word in (OPTIONS[_FLAGS[kind]].flag, path)]


def _job(asked: RunCommand, artifact: Artifact, photos: Mapping[str, Path], plan: _Plan) -> Job:
    from fmedge.boards.jobs import Job

    models = model_inputs([artifact])
    words = [*photos, "--model", f"in/models/{artifact.path.name}"]
    for key in _PASSED_ON:
        value = getattr(asked, key)
        if value != RunCommand._field_defaults[key]:
            words += [OPTIONS[key].flag, *([] if value is True else [str(value)])]
    words += [*plan.words, *(["--no-page"] if asked.no_page else []), *(["--json"] if asked.as_json else [])]
    words += ["--activation", "both"] if asked.activation == "both" else []
    return Job(
        "fmedge run",
        [*trust_step([artifact]), fmedge_step("run", *words)],
        {**models, **photos},
        plan.places,
        frozenset(models),
    )


def _renamed(data: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - what JSON holds
    """Replace the names that files have on the board by those that they have here."""
    if isinstance(data, dict):
        return {key: _renamed(value, names) for key, value in data.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(data, list):
        return [_renamed(value, names) for value in data]  # pyright: ignore[reportUnknownVariableType]
    return names.get(data, data) if isinstance(data, str) else data
