"""Read and write a report: what one run of the benchmark measured, and what it could not measure.

Its JSON holds the raw measurements and no statistics: whoever reads it computes those again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fmedge.data.measurement import Configuration, Measurement
from fmedge.data.telemetry import Telemetry
from fmedge.errors import LimitExceeded, UsageError
from fmedge.system import files, reading
from fmedge.system.machine import Clocks, Machine
from fmedge.system.serde import read_document, refusing

SCHEMA = 3
"""Version of the report's fields. Version 1, with one process per configuration, and version 2, without sensors, can be
read, too; others are refused."""


KIND = "fmedge bench"
"""Identifies the file as a report."""


MAX_REPORT_BYTES = 1 << 26
"""A measurement of two seconds holds about a thousand numbers, 15 kB: room for 4,000 measurements."""

MAX_MEASUREMENTS = 1 << 12
"""Every layer of VGG16 on four engines in three precisions on one to four threads makes 864."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A configuration that was not measured.

    Attributes:
        configuration: The configuration.
        reason: Why, and what to do.
        exit_code: Exit code of the error that occurred; 0 where it was skipped.
    """

    configuration: Configuration
    reason: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """What the machine achieved with this many threads, in the same run.

    Attributes:
        threads: CPU threads.
        flops: Operations per second of NumPy's float32 matrix product.
        copy_bytes: Bytes per second, read and written, of NumPy's copy of large arrays.
    """

    threads: int
    flops: float
    copy_bytes: float


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of the benchmark found.

    Attributes:
        fmedge: Version of fmedge.
        started: Start time in UTC, ISO 8601.
        machine: The machine it ran on.
        clocks: Clocks of its cores, before and after.
        runs: Minimum number of runs per configuration.
        seconds: Minimum counted seconds per configuration.
        limits: What the machine achieved.
        measurements: What was measured.
        missing: What was not.
        interrupted: Whether it was interrupted: measurements may then hold fewer runs.
        processes: Processes per configuration; the most, where the time decided and not all got the same number.
        telemetry: What the machine's sensors told meanwhile; None in reports from before that was recorded.
    """

    fmedge: str
    started: str
    machine: Machine
    clocks: tuple[Clocks, Clocks]
    runs: int
    seconds: float
    limits: tuple[Limit, ...]
    measurements: tuple[Measurement, ...]
    missing: tuple[Missing, ...] = ()
    interrupted: bool = False
    processes: int = 1
    telemetry: Telemetry | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "kind": KIND,
            "schema": SCHEMA,
            **asdict(self),
            "measurements": [each.to_dict() for each in self.measurements],
        }


def read_report(path: Path) -> Report:
    """Read a report that ``fmedge bench --output FILE.json`` wrote.

    Raises:
        UsageError: It is missing, not a report, of another version, or damaged.
        LimitExceeded: It holds too much.
    """
    if not files.is_file(path):
        raise UsageError(f"No file '{path}'.", hint=f"Make one: fmedge bench --output {path.name}.")
    with refusing(path, "a report", "Measure again: fmedge bench"):
        return read_document(reading.read_bytes(path, MAX_REPORT_BYTES), Report, partial(_fields, path))


def _fields(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a report without its head; those of an older version are converted."""
    for name in ("measurements", "missing"):
        count = len(data[name]) if isinstance(data.get(name), list) else 0
        if count > MAX_MEASUREMENTS:
            raise LimitExceeded(f"'{path}' holds {count:,} {name}. Allowed: {MAX_MEASUREMENTS:,}.")
    if data.pop("kind", None) != KIND:
        raise UsageError(f"'{path}' is not a benchmark report.", hint="Make one: fmedge bench --output report.json.")
    schema: object = data.pop("schema", None)
    if type(schema) is not int or schema not in (1, 2, SCHEMA):
        raise UsageError(
            f"'{path}' has schema {schema}; this version of fmedge reads 1 to {SCHEMA}.",
            hint="Measure again: fmedge bench.",
        )
    if schema == 1:
        for measured in data["measurements"]:
            measured["processes"] = [{"turns": measured.pop("turns")}]
    return data
