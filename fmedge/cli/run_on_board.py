"""``fmedge run --on``: make the model here, run it on a board, and bring its page here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmedge.cli.console import emit, print_json, say
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
from fmedge.cli.run_request import request_for, require_agreement
from fmedge.errors import BackendUnavailable, BoardUnavailable, UsageError
from fmedge.system.serde import parse

if TYPE_CHECKING:
    from fmedge.boards.jobs import Job, Runner
    from fmedge.cli.on_boards import Done
    from fmedge.model.artifact import Artifact

_PASSED_ON = (
    *("channel", "values", "plotlyjs", "style", "resize", "max_pixels", "backend", "device", "threads", "cpus", "math"),
    "allow_fallback",
)
"""Arguments that the board's command gets as they are; the model's are settled here."""

_RESULTS = {"output": "page.html", "save_maps": "maps.npz", "png": "sheet.png"}
"""Arguments that name results, and what these are called in the job's folder."""


def run_on_board(asked: RunCommand) -> None:
    """Turn a photo into the feature maps of a layer on a board.

    Raises:
        UsageError: There are several photos, layers or boards, or options do not fit.
        FmedgeError: The model cannot be made, the board cannot be reached, or its command failed.
    """
    name = require_one(asked.on or "", "a run")
    _require_single(asked)
    artifact = _artifact(asked)
    places = _places(asked, artifact)

    def run_one(runner: Runner, run: Callable[[Job], Done]) -> Done:
        done = run(_job(asked, artifact, places))
        done.require_success()
        if len(done.ended.found) < len(places):
            raise BoardUnavailable(f"The board '{runner.name}' has not made all results.")
        return done

    found = on_each([name], run_one)
    raise_first(found)
    done: Any = found[name]
    if asked.as_json:
        with refusing_answers(name):
            print_json(_renamed(parse(done.out), {f"out/{_RESULTS[key]}": str(path) for key, path in places.items()}))
        return
    for path in places.values():
        emit(str(path))
        break


def _require_single(asked: RunCommand) -> None:
    from fmedge.data.image_list import is_several
    from fmedge.data.images import require_image_file

    prepared = parse_preprocessing(asked.preprocessing, asked.scale, asked.mean, asked.std, asked.order)
    require_agreement(asked, prepared)
    if len(asked.images) != 1 or is_several(asked.images[0]):
        raise UsageError("A run on a board takes one photo. Name one file.")
    if asked.layer is not None and ("+" in asked.layer or asked.layer == "all"):
        raise UsageError("A run on a board takes one layer. Name one.")
    if asked.activation == "both":
        raise UsageError("A run on a board shows values before or after the activation. Leave out: --activation both.")
    if asked.tuned:
        raise UsageError("A tuned choice holds for this machine. With --on, leave out --tuned.")
    if asked.backend is not None and asked.backend not in ENGINES:
        raise UsageError(f"Boards have no engine '{asked.backend}'. Allowed: {', '.join(ENGINES)}.")
    require_image_file(asked.images[0])


def _artifact(asked: RunCommand) -> Artifact:
    """Return the model, exported here if it is missing."""
    from fmedge.model.run_options import RunOptions
    from fmedge.model.submodel import ExportOptions, Format, Precision
    from fmedge.runtime.backends import find_backend
    from fmedge.workflow.model_files import open_model

    if asked.model is not None:
        return open_model(asked.model)
    kind = asked.model_format or (find_backend(asked.backend).formats[0] if asked.backend else Format.ONNX)
    if kind is Format.NATIVE:
        raise BackendUnavailable("Boards have no engine for models of the format native.", hint="Use --format onnx.")
    prepared = parse_preprocessing(asked.preprocessing, asked.scale, asked.mean, asked.std, asked.order)
    form = ExportOptions(kind, asked.precision or Precision.FP32, size=parse_size(asked.size), preprocessing=prepared)
    return ensure_artifact(request_for(asked, form, None), RunOptions(), offline=asked.offline)


def _places(asked: RunCommand, artifact: Artifact) -> dict[str, Path]:
    """Return where each result is written here.

    Raises:
        UsageError: The model has several layers, or a name is that of a folder or of another kind of file.
        WriteError: A result cannot be written.
    """
    from fmedge.cli.run_outputs import names_folder
    from fmedge.data.page_options import PageOptions
    from fmedge.system.files import require_output
    from fmedge.workflow.output_paths import Outputs, page_name, require_no_image

    submodel = artifact.card.submodel
    if len(submodel.taps) > 1:
        raise UsageError("A run on a board takes one layer. This model has several.")
    options = PageOptions(asked.values, asked.plotlyjs, False, asked.style)
    places: dict[str, Path] = {}
    if not asked.no_page:
        places["output"] = asked.output or Path(page_name(asked.images[0], submodel, asked.channel, options))
    if asked.save_maps is not None:
        places["save_maps"] = asked.save_maps
    if asked.png is not None:
        places["png"] = asked.png
    for key, path in places.items():
        if names_folder(path):
            raise UsageError(f"{OPTIONS[key].flag} {path}: a run on a board takes names of files. Name one.")
        require_output(path, Path(_RESULTS[key]).suffix)
    require_no_image(asked.images, [Outputs(places.get("output"))])
    if not places:
        say("Note: the results are neither drawn nor saved.")
    return places


def _job(asked: RunCommand, artifact: Artifact, places: dict[str, Path]) -> Job:
    from fmedge.boards.jobs import Job

    models = model_inputs([artifact])
    photo = f"in/photo/{asked.images[0].name}"
    words = [photo, "--model", f"in/models/{artifact.path.name}"]
    for key in _PASSED_ON:
        value = getattr(asked, key)
        if value != RunCommand._field_defaults[key]:
            words += [OPTIONS[key].flag, *([] if value is True else [str(value)])]
    words += [word for key in places for word in (OPTIONS[key].flag, f"out/{_RESULTS[key]}")]
    words += ["--no-page"] if asked.no_page else []
    words += ["--json"] if asked.as_json else []
    return Job(
        "fmedge run",
        [*trust_step([artifact]), fmedge_step("run", *words)],
        {**models, photo: asked.images[0]},
        {f"out/{_RESULTS[key]}": path for key, path in places.items()},
        frozenset(models),
    )


def _renamed(data: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - what JSON holds
    """Replace the names that results have on the board by those that they have here."""
    if isinstance(data, dict):
        return {key: _renamed(value, names) for key, value in data.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(data, list):
        return [_renamed(value, names) for value in data]  # pyright: ignore[reportUnknownVariableType]
    return names.get(data, data) if isinstance(data, str) else data
