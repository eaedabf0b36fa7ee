"""A tuned choice: the model, engine and settings that were best here, with the measurements; later runs read it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fmedge.errors import ArtifactError, BackendUnavailable, UsageError
from fmedge.model.artifact import Artifact, read_artifact
from fmedge.model.parity import GATES, Parity
from fmedge.model.run_options import Math, RunOptions
from fmedge.system import files, reading
from fmedge.system.log import log
from fmedge.system.machine import Machine, this_machine
from fmedge.system.serde import read_document, refusing
from fmedge.system.wording import plural
from fmedge.workflow.request import TUNED_SUFFIX as TUNED_SUFFIX
from fmedge.workflow.request import ArtifactSpec, tuned_path

KIND = "fmedge tune"
"""Identifies the kind of file."""

SCHEMA = 2
"""Version of the file's fields. Version 1, without energy, can be read, too; any other is refused."""

MAX_TUNED_BYTES = 1 << 20
"""Largest size of a file. A choice with twenty other candidates takes about 15 kB."""

EXACT_DB = GATES["fp32"].min_snr_db
"""With this agreement or more, a result is as good as float32's, and a run may use it without being asked to."""

Objective = Literal["latency", "throughput", "memory", "size", "first", "energy"]
"""The quantity that is minimised: seconds per image one by one; seconds per image in batches; the memory of the
process; the size of the model's files; seconds from opening the model to its first result; joules per image, without
what the idle machine takes."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A measured way to run the sub-model.

    Attributes:
        model: Name of the model file, which is in the folder of the tuned choice.
        file_sha256: Hash of the model's files.
        backend: Name of the engine.
        engine_version: Its version.
        device: The device that it computes on.
        math: Arithmetic of the model's float parts.
        threads: CPU threads that compute.
        form: Precision, arithmetic and variant in words.
        parity: Agreement with the float64 reference, on the photo that agrees least.
        p50_s: Median duration of a run, in seconds; with the objective ``throughput``, of a run of a batch.
        images_per_s: All images divided by all seconds.
        load_s: Seconds to open the model.
        first_run_s: Seconds of the first run.
        peak_memory_bytes: Peak memory of the process; None if the system does not report it.
        file_size: Size of the model's files, in bytes.
        energy_j: Joules per image, without what the idle machine takes; None where that was not measured.
    """

    model: str
    file_sha256: str
    backend: str
    engine_version: str
    device: str
    math: Math
    threads: int
    form: str
    parity: Parity
    p50_s: float
    images_per_s: float
    load_s: float
    first_run_s: float
    peak_memory_bytes: int | None
    file_size: int
    energy_j: float | None = None

    @property
    def exact(self) -> bool:
        """Whether it is as accurate as float32."""
        return self.parity.snr_db >= EXACT_DB

    def value(self, objective: Objective) -> tuple[float, float]:
        """Return the quantity to minimise, followed by the median duration as a tie-breaker."""
        values: dict[Objective, float] = {
            "latency": self.p50_s,
            "throughput": 1 / self.images_per_s,
            "memory": self.peak_memory_bytes or 0,
            "size": self.file_size,
            "first": self.load_s + self.first_run_s,
            "energy": math.inf if self.energy_j is None else self.energy_j,
        }
        return values[objective], self.p50_s

    def describe(self) -> str:
        """Describe it in words: ``ncnn, fp32, 2 threads``."""
        return f"{self.backend}, {self.form}, {plural(self.threads, 'thread')}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A way to run the sub-model that was rejected, and why.

    Attributes:
        what: The way, in words.
        reason: The reason, in words.
        exit_code: Exit code of the error that occurred; 0 if there was none.
    """

    what: str
    reason: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of a search.

    Attributes:
        fmedge: Version of fmedge.
        started: When the search started, in UTC, ISO 8601.
        machine: The machine that it ran on.
        objective: The quantity that was minimised.
        min_snr_db: Smallest agreement with the reference that was allowed, in dB.
        judged_on: The photos that the agreement was measured on, in words.
        batch: Images per run.
        front: The candidates that no other beats in both the objective and accuracy; the first is the choice.
        dropped: The rejected ones.
    """

    fmedge: str
    started: str
    machine: Machine
    objective: Objective
    min_snr_db: float
    judged_on: str
    batch: int
    front: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...] = ()

    def __post_init__(self) -> None:
        if not self.front:
            raise ValueError("no choice")

    @property
    def choice(self) -> Candidate:
        """The candidate that was chosen."""
        return self.front[0]

    @property
    def exact(self) -> Candidate | None:
        """The best candidate that is as accurate as float32, if any."""
        return next((each for each in self.front if each.exact), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dictionary that JSON can hold."""
        data = asdict(self)
        for each, row in zip(self.front, data["front"], strict=True):
            row["parity"] = each.parity.to_dict()
        return {"kind": KIND, "schema": SCHEMA, **data}

    def to_json(self) -> str:
        """Return the result as indented JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_tuned(path: Path) -> Tuned:
    """Read a choice that ``fmedge tune`` wrote.

    Raises:
        UsageError: The file is missing, damaged, of another kind or of another version.
    """
    if not files.is_file(path):
        raise UsageError(f"No tuned choice '{path}'.", hint="Make one: fmedge tune.")
    with refusing(path, "a tuned choice", "Make it again: fmedge tune"):
        return read_document(reading.read_bytes(path, MAX_TUNED_BYTES), Tuned, partial(_fields, path))


def _fields(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Check the kind and version of a choice and return the other fields."""
    schema: object = data.pop("schema", None)
    if data.pop("kind", None) != KIND or type(schema) is not int or schema not in (1, SCHEMA):
        raise UsageError(
            f"'{path}' is not a tuned choice that this version of fmedge reads.", hint="Make it again: fmedge tune."
        )
    return data


@dataclass(frozen=True, slots=True)
class Adopted:
    """A tuned choice that a run uses.

    Attributes:
        artifact: Its model.
        run: How to run it.
        words: One line that says what is used.
    """

    artifact: Artifact
    run: RunOptions
    words: str


def adopt(request: ArtifactSpec, run: RunOptions, *, anyway: bool, board: str = "") -> Adopted | None:
    """Return the tuned choice for a sub-model, or None if there is none that a run may use.

    Args:
        request: Gives the sub-model, the weights and the folder; its form is ignored except for the image size.
        run: How the run would go otherwise; the choice sets engine, device, arithmetic and threads.
        anyway: Use the choice even if it was made elsewhere or is less accurate than float32; otherwise the best
            candidate that is as accurate as float32 is used.
        board: Return the choice that was made on this board, for a run there.

    Raises:
        UsageError: With ``anyway``: there is no choice, or it cannot be read.
        BackendUnavailable: With ``anyway``: its engine is not installed.
        ArtifactError: With ``anyway``: its model is missing or a different one.
    """
    path = tuned_path(request, board)
    if not anyway and not files.is_file(path):
        return None
    try:
        tuned = read_tuned(path)
        choice = tuned.choice if anyway else tuned.exact
        if choice is None:
            return None
        doubt = "" if board else _doubt(tuned, choice)
        artifact = _read_model(request, choice)
    except (UsageError, BackendUnavailable, ArtifactError) as error:
        if anyway:
            raise
        log.warning(f"Note: the tuned choice is not used. {error.in_full()}")
        return None
    if doubt:
        log.warning(
            f"Note: the tuned choice is {'doubtful' if anyway else 'not used'}: {doubt}. To renew it: fmedge tune."
        )
        if not anyway:
            return None
    chosen = replace(run, backend=choice.backend, device=choice.device, math=choice.math)
    accuracy = "exact" if choice.exact else f"{choice.parity.snr_db:.0f} dB"
    return Adopted(
        artifact,
        replace(chosen, threads=run.threads or (choice.threads if run.cpus is None else None)),
        f"Tuned choice: {choice.describe()}, {accuracy} ({path}).",
    )


def _doubt(tuned: Tuned, choice: Candidate) -> str:
    """Say why a candidate's measurements may not apply here; empty if they do.

    Raises:
        UsageError: There is no such engine.
        BackendUnavailable: The engine is not installed.
    """
    from fmedge.runtime.backends import find_backend
    from fmedge.runtime.opening import engine_version

    row = find_backend(choice.backend)
    if not row.installed:
        raise BackendUnavailable(f"{row.name} is not installed.", hint=f"Install it: {row.install}.")
    if this_machine().hardware != tuned.machine.hardware:
        return f"it was made on another machine ({tuned.machine.processor}, {tuned.machine.cores} cores)"
    here = engine_version(row)
    if here != choice.engine_version:
        return f"it was made with {row.name} {choice.engine_version}; installed is {here}"
    return ""


def chosen_model(folder: Path, choice: Candidate) -> Artifact:
    """Return the model of a candidate.

    Args:
        folder: The folder of the tuned choice.
        choice: The candidate.

    Raises:
        ArtifactError: It is missing, damaged, or another one.
    """
    path = folder / choice.model
    if path.parent != folder:
        raise ArtifactError(
            f"'{choice.model}' is not a file beside the tuned choice.", hint="Make it again: fmedge tune."
        )
    artifact = read_artifact(path)
    if artifact.card.file_sha256 != choice.file_sha256:
        raise ArtifactError(f"'{path}' is not the model that was tuned.", hint="Make it again: fmedge tune.")
    return artifact


def _read_model(request: ArtifactSpec, choice: Candidate) -> Artifact:
    artifact = chosen_model(request.folder, choice)
    form = replace(artifact.card.options, preprocessing=request.options.preprocessing)
    if not replace(request, options=form).accepts(artifact.card):
        raise ArtifactError(
            f"'{artifact.path}' holds another layer, weights or preprocessing.", hint="Make it again: fmedge tune."
        )
    return artifact
