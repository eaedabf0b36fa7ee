"""``fmedge tune --on``: make the models and the reference here, and let boards find what is best there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from fmedge.bench.tune import Found
from fmedge.cli.console import ProgressLine, logged_lines, say
from fmedge.cli.on_boards import ENGINES, fmedge_step, model_inputs, on_each, refusing_answers, trust_step
from fmedge.errors import FmedgeError, UsageError
from fmedge.system.files import temporary_folder
from fmedge.system.serde import parse

if TYPE_CHECKING:
    from fmedge.bench.matrix import BenchMatrix
    from fmedge.bench.ways import Goal
    from fmedge.boards.jobs import Job, Runner
    from fmedge.cli.on_boards import Done
    from fmedge.model.artifact import Artifact


class Asked(NamedTuple):
    """What boards are to find out.

    Attributes:
        matrix: The sub-model: one layer; engines as they were named.
        goal: The goal.
        words: The other words of the command, for the boards.
    """

    matrix: BenchMatrix
    goal: Goal
    words: Sequence[str]


def tune_on(names: Sequence[str], asked: Asked) -> dict[str, Found | FmedgeError]:
    """Search on boards, all at once.

    Returns:
        For each board what was found, or the error.

    Raises:
        FmedgeError: The models or the reference cannot be made.
        KeyboardInterrupt: The user interrupted; there is no choice then.
    """
    from fmedge.bench.ways import write_reference
    from fmedge.boards.jobs import Job
    from fmedge.data.bench_report import read_report
    from fmedge.workflow.tuned_choice import read_tuned

    artifacts = _make_models(asked)
    models = model_inputs(artifacts)
    words = [*asked.words, "--reference", "in/reference.npz", "--json", "--output", "out/report.json"]
    for artifact in artifacts:
        words += ["--model", f"in/models/{artifact.path.name}"]
    with temporary_folder() as folder:
        reference = folder / "reference.npz"
        write_reference(reference, asked.matrix, asked.goal)

        def search(runner: Runner, run: Callable[[Job], Done]) -> Found:
            report, choice = folder / f"{runner.name}.json", folder / f"{runner.name}.tuned.json"
            steps = [*trust_step(artifacts), fmedge_step("tune", *words)]
            inputs = {**models, "in/reference.npz": reference}
            done = run(Job("fmedge tune", steps, inputs, {"out/report.json": report}, frozenset(models)))
            done.require_success()
            with refusing_answers(runner.name):
                (data,) = parse(done.out)
                choice.write_text(json.dumps(data))
                return Found(replace(read_tuned(choice), judged_on=asked.goal.judged_on), read_report(report))

        return on_each(names, search)


def _make_models(asked: Asked) -> list[Artifact]:
    """Make every form that may be tried.

    Raises:
        UsageError: None can be made.
    """
    from fmedge.bench.matrix import VARIANTS
    from fmedge.bench.model_cases import prepare_models
    from fmedge.bench.ways import tried_forms

    found: dict[str, Artifact] = {}
    missing: dict[str, None] = {}
    for form in tried_forms(asked.matrix, asked.goal, tuple(VARIANTS)):
        with logged_lines():
            made, absent = prepare_models(form, asked.matrix.backends or ENGINES, progress=ProgressLine())
        found |= {each.path.name: each for each in made}
        missing |= dict.fromkeys(absent)
    for line in missing:
        say(f"Skipped: {line}")
    if not found:
        raise UsageError("There is no model that could be tried on a board.", hint="The lines above say why.")
    return [*found.values()]
