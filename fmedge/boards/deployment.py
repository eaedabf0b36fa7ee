"""Deploy a model to a board: a folder with the model, an environment of its own, and scripts that run and check it.

The folder holds ``releases/ID`` and a link ``current`` to the one in use, which is set when the new release was checked
there; a release that fails leaves the former one in use. What is done there is a list of plain commands.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from fmedge._version import __version__
from fmedge.boards import wheels
from fmedge.boards.agent import DEPLOYMENT
from fmedge.boards.jobs import Job
from fmedge.boards.link import Link, answered, ask
from fmedge.errors import BoardUnavailable, UsageError
from fmedge.model.artifact import Artifact, artifact_paths
from fmedge.model.known_models import is_known
from fmedge.model.run_options import Math, RunOptions

VENV_BYTES = 450_000_000
"""Room for the copy of the board's environment: 420 MB on x86-64."""

Results = Literal["pages", "maps", "both"]
"""What a watched folder's photos become: pages, archives of maps, or both."""

RESULT_FLAGS: Mapping[str, Sequence[str]] = {
    "pages": ("--output",),
    "maps": ("--no-page", "--save-maps"),
    "both": ("--output", "--save-maps"),
}
"""Options of ``fmedge run`` for these; those that name a place are followed by the folder."""


class Deployment(NamedTuple):
    """What is deployed, and where.

    Attributes:
        artifact: The model.
        run: How it is run there.
        folder: The folder on the board, an absolute path.
        reference: What it is held against there; None leaves the check out.
        inbox: Folder on the board whose photos a service runs; None for none.
        results: What becomes of these photos.
    """

    artifact: Artifact
    run: RunOptions
    folder: PurePosixPath
    reference: Path | None
    inbox: PurePosixPath | None = None
    results: Results = "pages"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done on the board.

    Attributes:
        release: The new release's folder.
        texts: Files that are written, by their names in the release.
        copied: Files that are copied, likewise.
        steps: The commands, in order.
    """

    release: PurePosixPath
    texts: Mapping[str, str]
    copied: Mapping[str, Path]
    steps: Sequence[Sequence[str]]


def find_folder(words: str, option: str) -> PurePosixPath:
    """Return a path on the board.

    Raises:
        UsageError: It is not absolute, or cannot stand in a unit of systemd.
    """
    path = PurePosixPath(words)
    if not path.is_absolute() or len(path.parts) < 2 or ".." in path.parts or not re.fullmatch(r"[\w./+,:-]+", words):
        raise UsageError(
            f"{option} {words}: not a folder on a board. Allowed: an absolute path of letters, digits and ./_+,:-"
        )
    return path


def make_plan(wanted: Deployment) -> Plan:
    """Decide what is written and run on the board."""
    artifact, folder = wanted.artifact, wanted.folder
    number = secrets.token_hex(4)
    release = folder / "releases" / number
    copied = {path.name: path for path in artifact_paths(artifact.path, artifact.card.format)}
    if wanted.reference is not None:
        copied["reference.npz"] = wanted.reference
    texts = {
        DEPLOYMENT: json.dumps(_facts(wanted), indent=2) + "\n",
        "lock.txt": wheels.lock(),
        "run": _script("run", wanted, "Feature maps of photos; run --help tells the options.", after='"$@"'),
    }
    if wanted.reference is not None:
        what = "Hold what the model computes here against its reference."
        texts["verify"] = _script("verify", wanted, what, "--reference", "reference.npz", after='"$@"')
    if wanted.inbox is not None:
        texts["watch"] = _watch_script(wanted, wanted.inbox)
        texts[_unit(wanted)] = _service(wanted, wanted.inbox)
    venv = f"{release}/venv/bin/python"
    steps: list[list[str]] = [
        ["mkdir", "-p", str(release)],
        ["cp", f"@JOB@/in/release/{DEPLOYMENT}", f"{folder}/{DEPLOYMENT}"],
        ["cp", "-r", "@JOB@/in/release/.", f"{release}/"],
        ["cp", "-a", "@ROOT@/venv", f"{release}/venv"],
        ["chmod", "755", *(f"{release}/{name}" for name in ("run", "verify", "watch") if name in texts)],
    ]
    if is_known(artifact.card):
        trust = ["-P", "-m", "fmedge", "trust", "--quiet", f"{release}/{artifact.path.name}"]
        steps += [["env", f"FMEDGE_STATE={release}/state", venv, *trust]]
    if wanted.reference is not None:
        steps += [[f"{release}/verify"]]
    steps += [
        ["ln", "-sfn", f"releases/{number}", f"{folder}/next"],
        ["mv", "-fT", f"{folder}/next", f"{folder}/current"],
        ["ln", "-sfn", "current/run", f"{folder}/run"],
    ]
    if wanted.inbox is not None:
        unit = f"{folder}/current/{_unit(wanted)}"
        steps += [
            ["mkdir", "-p", str(wanted.inbox)],
            ["systemctl", "--user", "link", "--force", unit],
            ["systemctl", "--user", "daemon-reload"],
            ["systemctl", "--user", "enable", _unit(wanted)],
            ["systemctl", "--user", "restart", _unit(wanted)],
        ]
    former = ["find", f"{folder}/releases", "-mindepth", "1", "-maxdepth", "1", "!", "-name", number]
    return Plan(release, texts, copied, [*steps, [*former, "-exec", "rm", "-rf", "{}", "+"]])


def job_of(plan: Plan, folder: Path) -> Job:
    """Return a plan as a job.

    Args:
        plan: The plan.
        folder: An empty folder here, for the files that are written.
    """
    for name, text in plan.texts.items():
        (folder / name).write_text(text)
    files = {**{name: folder / name for name in plan.texts}, **plan.copied}
    return Job("fmedge deploy", plan.steps, {f"in/release/{name}": path for name, path in files.items()})


def removal_of(plan: Plan) -> Job:
    """Return the job that removes a release that was not made whole."""
    return Job("fmedge deploy", [["rm", "-rf", str(plan.release)]])


def require_vacant(link: Link, wanted: Deployment) -> None:
    """Check that the folder on the board is missing, empty or a former deployment, and that there is room.

    Raises:
        BoardUnavailable: It is none of these, or the board cannot be reached.
    """
    name, folder, artifact = link.target.name, wanted.folder, wanted.artifact
    found = answered(lambda: ask(link, "look", path=str(folder)))
    kind: object = found.get("kind")
    if kind == "denied":
        raise BoardUnavailable(
            f"'{folder}' cannot be written on '{name}'.",
            hint=f"There: sudo install -d -o $USER {shlex.quote(str(folder))}.",
        )
    if kind != "vacant":
        raise BoardUnavailable(f"'{folder}' on '{name}' holds something else.", hint="Choose another --to.")
    free: object = found.get("free_bytes")
    room = VENV_BYTES + sum(path.stat().st_size for path in artifact_paths(artifact.path, artifact.card.format))
    if isinstance(free, int) and free < room:
        raise BoardUnavailable(
            f"'{name}' has {free / 1e6:,.0f} MB free for '{folder}', and {room / 1e6:,.0f} MB are needed."
        )


def describe(plan: Plan) -> list[str]:
    """Return what is done on the board, a line each: files that are copied, then commands for a shell."""
    sizes = {name: len(text.encode()) for name, text in plan.texts.items()}
    sizes |= {name: path.stat().st_size for name, path in plan.copied.items()}
    named = {"@ROOT@": "~/.local/share/fmedge-board", "@JOB@": "~/.local/share/fmedge-board/jobs/JOB"}
    lines = [f"# copy {name}, {size:,} bytes" for name, size in sorted(sizes.items())]
    for step in plan.steps:
        words: list[str] = []
        for word in step:
            start, _, rest = word.partition("/")
            words.append(f"{named[start]}/{shlex.quote(rest)}" if start in named else shlex.quote(word))
        lines.append(" ".join(words))
    return lines


def _facts(wanted: Deployment) -> dict[str, object]:
    card = wanted.artifact.card
    return {
        "kind": DEPLOYMENT.removesuffix(".json"),
        "schema": 1,
        "fmedge": __version__,
        "model": wanted.artifact.path.name,
        "file_sha256": card.file_sha256,
        "layer": card.submodel.label,
        "activation": str(card.activation),
        "run": dict(zip(("backend", "device", "threads", "math"), _chosen(wanted.run), strict=True)),
    }


def _chosen(run: RunOptions) -> tuple[str | None, str, int | None, Math]:
    return run.backend, run.device, run.threads, run.math


def _script(command: str, wanted: Deployment, what: str, *words: str, after: str) -> str:
    """Return a shell script that runs a command of fmedge on the model, wherever it is called from."""
    names = ("--backend", "--device", "--threads", "--math")
    told = [f"{name} {value}" for name, value in zip(names, _chosen(wanted.run), strict=True) if value is not None]
    model = shlex.quote(wanted.artifact.path.name)
    if command == "run":
        start = f'fmedge run --model "$here"/{model}'
    else:
        option, file = words
        start = f'fmedge {command} "$here"/{model} {option} "$here"/{file}'
    return _SCRIPT.format(what=what, words=" ".join([start, *told, after]))


_SCRIPT = """#!/bin/sh
# {what}
here=$(dirname "$(readlink -f "$0")")
export FMEDGE_STATE="$here"/state
exec "$here"/venv/bin/python -P -m {words}
"""


def _watch_script(wanted: Deployment, inbox: PurePosixPath) -> str:
    words = f'fmedge.boards.inbox {inbox} "$here"/run {wanted.results}'
    return _SCRIPT.format(what=f"Turn the photos that come to {inbox} into {wanted.results}.", words=words)


def _unit(wanted: Deployment) -> str:
    return f"fmedge-{re.sub(r'[^A-Za-z0-9-]+', '-', wanted.folder.name)}.service"


def _service(wanted: Deployment, inbox: PurePosixPath) -> str:
    return f"""[Unit]
Description=fmedge: {wanted.artifact.card.submodel.label} of the photos in {inbox}

[Service]
ExecStart={wanted.folder}/current/watch
Restart=on-failure
RestartSec=10

[Install]
WantedBy=default.target
"""
