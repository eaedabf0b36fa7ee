"""``fmedge doctor``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from fmedge.cli.console import emit, print_json, print_table, say
from fmedge.cli.on_boards import On
from fmedge.cli.options import AsJson
from fmedge.errors import BackendUnavailable, FmedgeError, printable

if TYPE_CHECKING:
    from fmedge.workflow.doctor import Diagnosis


def doctor_command(as_json: AsJson = False, on: On = None) -> None:
    """Find out which engines and devices work here: each runs a small model and is compared with a reference."""
    from fmedge._version import __version__
    from fmedge.workflow.doctor import examine

    if on is None:
        found = examine()
        if as_json:
            print_json({"fmedge": __version__, **asdict(found)})
        else:
            _show(found)
        problems = bool(found.problems)
    else:
        problems = _on_boards(on, as_json=as_json)
    if problems:
        raise typer.Exit(BackendUnavailable.exit_code)


def _on_boards(on: str, *, as_json: bool) -> bool:
    """Examine boards, and show what was found; return whether there are problems."""
    from fmedge._version import __version__
    from fmedge.boards.jobs import Job, Runner
    from fmedge.boards.registry import LOCAL
    from fmedge.cli.on_boards import Done, fmedge_step, names_of, on_each, raise_first, refusing_answers
    from fmedge.system.serde import read_document
    from fmedge.workflow.doctor import Diagnosis, examine

    def examine_one(runner: Runner, run: Callable[[Job], Done]) -> Diagnosis:
        done = run(Job("fmedge doctor", [fmedge_step("doctor", "--json")]))
        done.require_success((0, BackendUnavailable.exit_code))
        with refusing_answers(runner.name):
            return read_document(done.out, Diagnosis, _without_version)

    names = names_of(on)
    found: dict[str, Diagnosis | FmedgeError] = {}
    if LOCAL in names:
        found[LOCAL] = examine()
    found |= on_each([name for name in names if name != LOCAL], examine_one)
    diagnoses = {name: found[name] for name in names}
    if as_json:
        print_json(
            {
                name: {"error": each.in_full()}
                if isinstance(each, FmedgeError)
                else {"fmedge": __version__, **asdict(each)}
                for name, each in diagnoses.items()
            }
        )
    else:
        for name, each in diagnoses.items():
            if not isinstance(each, FmedgeError):
                emit(f"{name}:")
                _show(each)
    raise_first(diagnoses)
    return any(each.problems for each in diagnoses.values() if not isinstance(each, FmedgeError))


def _without_version(data: dict[str, Any]) -> dict[str, Any]:
    data.pop("fmedge", None)
    return data


def _show(found: Diagnosis) -> None:
    from fmedge._version import __version__

    machine = found.machine
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / 1e9:.1f} GB of memory free"
    emit(f"fmedge {__version__}, Python {machine.python}, {machine.system} {machine.architecture}")
    emit(f"{machine.processor}, {machine.cores_in_words}{memory}")
    print_table(
        ["engine", "device", "works", "result"],
        (
            row
            for engine in found.engines
            for row in [
                [
                    f"{engine.backend} {next(iter(engine.distributions.values()), '')}".strip(),
                    state.device,
                    "yes" if state.works else "no",
                    state.said,
                ]
                for state in engine.devices
            ]
            or [[engine.backend, "-", "no", f"not installed: {engine.install}"]]
        ),
        left=4,
    )
    for name, words in found.sensors.items():
        emit(printable(f"{name}: {words}"))
    for problem in found.problems:
        say(f"Problem: {problem}")
