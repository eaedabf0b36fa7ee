"""``fmedge deploy``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import emit, logged_lines, print_json, say
from fmedge.cli.on_boards import ENGINES, on_each, raise_first, require_one
from fmedge.errors import BackendUnavailable, BoardUnavailable, UsageError, printable

if TYPE_CHECKING:
    from fmedge.boards.jobs import Job, Runner
    from fmedge.cli.on_boards import Done
    from fmedge.model.artifact import Artifact
    from fmedge.model.run_options import RunOptions


def deploy_command(
    model: Annotated[
        Path, typer.Argument(readable=False, metavar="MODEL", help="A model file, or a choice of fmedge tune.")
    ],
    on: Annotated[str, typer.Option("--on", metavar="NAME", help="The board. See: fmedge boards.")],
    to: Annotated[
        str, typer.Option("--to", metavar="DIR", help="The folder there: missing, empty, or a former deployment.")
    ],
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Also start a service there (systemd) that runs the photos that come to this folder."
        ),
    ] = None,
    results: Annotated[
        Literal["pages", "maps", "both"], typer.Option(help="With --watch: what is made of the photos.")
    ] = "pages",
    backend: options.Backend = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    math: options.MathChoice = "fp32",
    network: options.Network = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not check there what the model computes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the files and commands.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Put a model on a board with an environment of its own, and check what it computes there."""
    from fmedge.boards import deployment
    from fmedge.runtime.backends import find_backend
    from fmedge.system.files import temporary_folder

    name = require_one(on, "a deployment")
    folder = deployment.find_folder(to, "--to")
    inbox = None if watch is None else deployment.find_folder(watch, "--watch")
    artifact, run = _chosen(model, options.run_options(backend, device, threads, None, math, allow_fallback=False))
    if run.backend is not None and run.backend not in ENGINES:
        raise BackendUnavailable(f"Boards have no engine '{run.backend}'. Allowed: {', '.join(ENGINES)}.")
    engines = [each for each in ENGINES if artifact.card.format in find_backend(each).formats]
    if run.backend not in (None, *engines) or not engines:
        who = run.backend or "No engine of boards"
        hint = f"Allowed: {', '.join(engines)}." if engines else "Use --format onnx for its export."
        raise UsageError(f"{who} does not run {artifact.card.format} models.", hint=hint)
    with temporary_folder() as place:
        reference = None
        if not no_verify:
            from fmedge.workflow.verification import save_reference_of

            reference = place / "reference.npz"
            with logged_lines():
                save_reference_of(artifact, reference, network=network, weights=weights, keras=keras, onnx=onnx)
        wanted = deployment.Deployment(artifact, run, folder, reference, inbox, results)
        plan = deployment.make_plan(wanted)
        if dry_run:
            for line in deployment.describe(plan):
                emit(line)
            return
        files = place / "release"
        files.mkdir()

        def deploy(runner: Runner, run: Callable[[Job], Done]) -> str:
            deployment.require_vacant(runner.link, wanted)
            whole = False
            try:
                done = run(deployment.job_of(plan, files))
                done.require_success()
                whole = True
            finally:
                if not whole:
                    _remove(runner, deployment.removal_of(plan))
            return done.out

        found = on_each([name], deploy)
        raise_first(found)
    said = printable(str(found[name]).strip())
    if as_json:
        print_json({"board": name, "folder": str(folder), "run": f"{folder}/run", "checked": said or None})
        return
    if said:
        say(f"{name}: {said.removeprefix(f'{plan.release}/')}")
    if inbox is not None:
        say(f"{name}: photos in {inbox} are run from now on, while you are logged in; always: loginctl enable-linger")
    emit(f"{name}:{folder}")


def _remove(runner: Runner, job: Job) -> None:
    """Remove a release that was not made whole, if the board can be reached; the next deployment does otherwise."""
    try:
        runner.run(job)
    except BoardUnavailable as error:
        say(f"What was copied is left on '{runner.name}': {error}")


def _chosen(path: Path, run: RunOptions) -> tuple[Artifact, RunOptions]:
    """Return the model and how it is run: as it was tuned, where a tuned choice is named."""
    from fmedge.system.machine import this_machine
    from fmedge.workflow.model_files import open_model
    from fmedge.workflow.request import TUNED_SUFFIX
    from fmedge.workflow.tuned_choice import chosen_model, read_tuned

    if not path.name.endswith(TUNED_SUFFIX):
        return open_model(path), run
    if run.backend is not None or run.device != "cpu" or run.math != "fp32":
        raise UsageError("A tuned choice determines engine, device and arithmetic. Leave out those options.")
    tuned = read_tuned(path)
    choice = tuned.choice
    if tuned.machine.hardware == this_machine().hardware:
        say("Note: this choice was made here. To make one for a board: fmedge tune --on NAME")
    threads = run.threads or choice.threads
    return chosen_model(path.parent, choice), replace(
        run, backend=choice.backend, device=choice.device, math=choice.math, threads=threads
    )
