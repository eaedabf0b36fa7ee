"""``fmedge bench --on``: make models here, measure them on boards, and put the reports side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fmedge.cli.console import ProgressLine, logged_lines, say
from fmedge.cli.on_boards import ENGINES, fmedge_step, model_inputs, on_each, refusing_answers, trust_step
from fmedge.errors import BoardUnavailable, FmedgeError, UsageError
from fmedge.system.files import temporary_folder

if TYPE_CHECKING:
    from fmedge.bench.matrix import BenchMatrix
    from fmedge.boards.jobs import Job, Runner
    from fmedge.cli.on_boards import Done
    from fmedge.data.bench_report import Report


class Asked(NamedTuple):
    """What is measured on boards.

    Attributes:
        matrix: The models; engines and threads as they were named.
        models: Model files to measure instead of those.
        words: The other words of the command, for the boards.
        image: The photo to run on.
    """

    matrix: BenchMatrix
    models: Sequence[Path]
    words: Sequence[str]
    image: Path | None


class Measured(NamedTuple):
    """What boards have measured.

    Attributes:
        reports: Reports, by boards; incomplete where the board stopped or the user interrupted.
        errors: Errors, by boards.
        interrupted: Whether the user interrupted.
    """

    reports: dict[str, Report]
    errors: dict[str, FmedgeError]
    interrupted: bool


def measure_on(names: Sequence[str], asked: Asked) -> Measured:
    """Measure on boards, all at once.

    Raises:
        FmedgeError: The models cannot be made.
    """
    from fmedge.bench.model_cases import prepare_models
    from fmedge.boards.jobs import Job
    from fmedge.data.bench_report import read_report
    from fmedge.workflow.model_files import open_model

    missing: list[str] = []
    if asked.models:
        artifacts = [open_model(path) for path in asked.models]
    else:
        with logged_lines():
            artifacts, missing = prepare_models(asked.matrix, asked.matrix.backends or ENGINES, progress=ProgressLine())
    for line in missing:
        say(f"Skipped: {line}")
    if not artifacts:
        raise UsageError("There is no model that could be measured on a board.", hint="The lines above say why.")
    inputs, words = model_inputs(artifacts), [*asked.words]
    for artifact in artifacts:
        words += ["--model", f"in/models/{artifact.path.name}"]
    kept = frozenset(inputs)
    if asked.image is not None:
        inputs[f"in/{asked.image.name}"] = asked.image
        words += ["--image", f"in/{asked.image.name}"]
    reports: dict[str, Report] = {}
    errors: dict[str, FmedgeError] = {}
    with temporary_folder() as folder:

        def measure(runner: Runner, run: Callable[[Job], Done]) -> None:
            path = folder / f"{runner.name}.json"
            steps = [*trust_step(artifacts), fmedge_step("bench", *words, "--json", "--output", "out/report.json")]
            job = Job("fmedge bench", steps, inputs, {"out/report.json": path}, kept)
            try:
                done = run(job)
                if done.ended.code is None or not path.is_file():  # other codes are those of rows that failed
                    done.require_success()
                    raise BoardUnavailable(f"The board '{runner.name}' has no report.")
            finally:
                if path.is_file():
                    with refusing_answers(runner.name):
                        reports[runner.name] = read_report(path)

        interrupted = False
        try:
            ended = on_each(names, measure)
            errors = {name: each for name, each in ended.items() if isinstance(each, FmedgeError)}
        except KeyboardInterrupt:
            interrupted = True
    return Measured({name: reports[name] for name in names if name in reports}, errors, interrupted)
