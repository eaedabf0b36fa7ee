"""``fmedge doctor``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from fmedge.cli.console import emit, print_json, print_table, say
from fmedge.cli.options import AsJson
from fmedge.errors import BackendUnavailable


def doctor_command(as_json: AsJson = False) -> None:
    """Find out which engines and devices work here: each runs a small model and is compared with a reference."""
    from fmedge._version import __version__
    from fmedge.workflow.doctor import examine

    found = examine()
    if as_json:
        print_json({"fmedge": __version__, **asdict(found)})
    else:
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
        for problem in found.problems:
            say(f"Problem: {problem}")
    if found.problems:
        raise typer.Exit(BackendUnavailable.exit_code)
