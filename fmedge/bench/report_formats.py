"""Write a report as a table for people (Markdown) and for spreadsheets (CSV), as JSON, and as an HTML page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from fmedge.data.bench_report import Report
from fmedge.data.measurement import Configuration, Measurement
from fmedge.data.telemetry import NOT_ASKED, short_reason, telemetry_words
from fmedge.errors import UsageError
from fmedge.render.report import render_report
from fmedge.system.wording import plural

HEADER = (
    *("layer", "engine", "form", "threads", "p50 ms", "p90 ms", "min ms", "± %", "images/s", "GFLOP/s"),
    *("of limit", "load", "load ms", "first ms", "MB"),
)
"""Columns of the table. *±* is the spread of the middle half of the runs over their median, *of limit* the speed over
that of direct float32 at the machine's limit, and *load* the number of busy cores."""


ENERGY_HEADER = ("J/image", "idle W", "max °C", "throttled")
"""Further columns where energy was asked for: joules per image without idle power, the idle power, the highest
temperature, and in how many turns the processor was held back."""


def header(report: Report) -> tuple[str, ...]:
    """Return the names of the columns of a report's table."""
    return (*HEADER, *(ENERGY_HEADER if _shows_energy(report) else ()))


def table(report: Report) -> list[list[str]]:
    """Return a row for each measurement, with the columns of :func:`header`."""
    energy = _shows_energy(report)
    return [[*_row(each), *(_energy_row(each, report) if energy else ())] for each in report.measurements]


def _shows_energy(report: Report) -> bool:
    """Return whether energy was asked for, be it measured or not."""
    return any(each.energy or each.no_energy not in ("", NOT_ASKED) for each in report.measurements)


def _energy_row(each: Measurement, report: Report) -> list[str]:
    """Return the cells of :data:`ENERGY_HEADER`: what is not known is said in words."""
    energy, watched = each.energy, report.telemetry
    joules = f"{energy.energy_j:.3g}" if energy else short_reason(each.no_energy, watched)
    if energy and energy.uncertainty_j is not None:
        joules += f" ± {energy.uncertainty_j:.1g}"
    throttled = f"{len(each.throttled)} of {len(each.turns)}" if watched and watched.signs else "not told"
    return [
        joules,
        f"{energy.idle_w:.2f}" if energy else "-",
        "no sensor" if each.hottest_c is None else f"{each.hottest_c:.0f}",
        throttled,
    ]


def _row(each: Measurement) -> list[str]:
    what = each.configuration
    return [
        what.layer,
        what.backend,
        what.form,
        str(what.threads),
        *(f"{1e3 * seconds:.2f}" for seconds in (each.p50, each.p90, each.min)),
        f"{100 * each.iqr / each.p50:.1f}{'!' if each.noisy else ''}",
        f"{each.images_per_s:.1f}",
        "-" if each.gflops is None else f"{each.gflops:.0f}",
        "-" if each.limit_share is None else f"{100 * each.limit_share:.0f} %",
        f"{each.load:.2f}",
        f"{1e3 * each.load_s:.0f}",
        f"{1e3 * each.first_run_s:.1f}",
        "-" if each.peak_memory_bytes is None else f"{each.peak_memory_bytes / 1e6:.0f}",
    ]


def stage_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the stages, medians in ms; no rows where stages were not measured."""
    staged = [each for each in report.measurements if each.stages]
    names = list(staged[0].stages) if staged else []
    rows = [
        [
            each.configuration.describe(),
            *(f"{1e3 * median(each.stages[name]):.2f}" for name in names),
            f"{1e3 * sum(median(each.stages[name]) for name in names):.1f}",
        ]
        for each in staged
    ]
    return ["stages, ms", *names, "sum"], rows


def describe(report: Report) -> list[str]:
    """Describe in a few lines where and how the report was measured."""
    machine, (before, after) = report.machine, report.clocks
    memory = "" if machine.total_memory_bytes is None else f", {machine.total_memory_bytes / 1e9:.0f} GB"
    clock = "not reported by the system"
    if before.megahertz and after.megahertz:
        clock = f"{median(before.megahertz):.0f} MHz before, {median(after.megahertz):.0f} after"
    engines = {each.configuration.backend: each.engine_version for each in report.measurements}
    processes = f"in {plural(report.processes, 'process', 'processes')}"
    lines = [
        f"{machine.processor}, {machine.architecture}, {machine.cores_in_words}{memory}; {' '.join(machine.flags)}",
        f"{machine.system}, Python {machine.python}, fmedge {report.fmedge}, "
        + ", ".join(f"{name} {version}" for name, version in engines.items()),
        f"Clock {clock}; governor {', '.join(sorted(set(before.governors or ()))) or 'not reported'}",
        f"{report.started}; at least {report.runs} runs and {report.seconds:g} s each, {processes}, taking turns",
    ]
    return (
        lines
        + telemetry_lines(report)
        + [
            f"Limit with {plural(limit.threads, 'thread')}: {limit.flops / 1e9:.0f} GFLOP/s (sgemm), "
            f"{limit.copy_bytes / 1e9:.1f} GB/s (copy)"
            for limit in report.limits
        ]
    )


def telemetry_lines(report: Report) -> list[str]:
    """Describe in a few lines what the machine's sensors told; none for reports from before that was recorded."""
    return [f"{name}: {words}" for name, words in telemetry_words(report.telemetry).items()] if report.telemetry else []


def to_markdown(report: Report) -> str:
    """Write the report as Markdown."""
    parts = ["# fmedge bench", "\n".join(f"- {line}" for line in describe(report))]
    parts.append(_markdown_table(header(report), table(report)))
    names, rows = stage_table(report)
    if rows:
        parts.append(_markdown_table(names, rows))
    notes = [f"{each.configuration.describe()}: {_kind(each.exit_code)}: {each.reason}" for each in report.missing]
    notes += [line for each in report.measurements for line in each.warnings()]
    if report.interrupted:
        notes.append("Interrupted: some rows have fewer runs, others are missing.")
    if notes:
        parts.append("\n".join(f"- {_plain(note)}" for note in notes))
    return "\n\n".join(parts) + "\n"


_MEANINGS = {
    "noisy": "the middle half of the runs spans more than a tenth of the median",
    "disturbed": "other processes kept cores busy; measure on a quiet machine",
    "unsettled": "still changing after the warm-up",
    "crowded": "more cores busy than threads; not a fair comparison",
    "throttled": "the machine slowed its processor down for heat, voltage or a limit",
}
_IDLE = "a large part of the threads had no work"
_LINE = 200
_COUNTED = 24
"""Characters reserved for ``; and 1,234 more``."""


def doubt_lines(report: Report) -> list[str]:
    """Return the doubts about rows: for each kind of doubt a line of at most 200 characters."""
    found = [
        _doubt_line(f"Warning: {kind} ({meaning})", [each for each in report.measurements if kind in each.doubts])
        for kind, meaning in _MEANINGS.items()
    ]
    found.append(_doubt_line(f"Note: idle ({_IDLE})", [each for each in report.measurements if each.idle]))
    return [line for line in found if line]


def _doubt_line(what: str, rows: Sequence[Measurement]) -> str:
    """Return a line with the number of rows and the first of their names; empty where there are no rows."""
    if not rows:
        return ""
    names = [each.configuration.describe() for each in rows]
    line = f"{what}: {plural(len(rows), 'row')}: "
    shown = 0
    while shown < len(names) and len(line) + len(names[shown]) + 2 <= _LINE - _COUNTED * (shown + 1 < len(names)):
        line += f"{'; ' if shown else ''}{names[shown]}"
        shown += 1
    if shown == 0:
        return line[:-2]
    return line + (f"; and {len(names) - shown:,} more" if shown < len(names) else "")


def _kind(exit_code: int) -> str:
    return "failed" if exit_code else "skipped"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


_FIGURES = ("p50", "p90", "p95", "p99", "min", "iqr", "n", "images_per_s", "gflops", "limit_share", "load", "noisy")
_FACTS = (
    *("load_s", "first_run_s", "warm_up_runs", "steady", "cpu_s", "wall_s", "peak_memory_bytes", "macs", "limit_s"),
    *("file_size", "file_sha256", "engine_version", "active_provider", "placement"),
)


def to_csv(report: Report) -> str:
    """Write a CSV line per configuration: figures in seconds and bytes, no single runs; last, why a row is missing."""
    rows = [
        {
            **_configuration(each.configuration),
            **{name: getattr(each, name) for name in (*_FIGURES, *_FACTS)},
            "parity_db": each.parity and each.parity.snr_db,
            **_energy_facts(each),
        }
        for each in report.measurements
    ]
    rows += [
        {**_configuration(each.configuration), "missing": f"{_kind(each.exit_code)}: {each.reason}"}
        for each in report.missing
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _energy_facts(each: Measurement) -> dict[str, object]:
    names = ("energy_j", "uncertainty_j", "gross_j", "idle_w", "rate_hz")
    energy = {name: getattr(each.energy, name, None) for name in names}
    sensor = each.energy.sensor if each.energy else each.no_energy
    return {**energy, "sensor": sensor, "hottest_c": each.hottest_c, "throttled_turns": len(each.throttled)}


def _configuration(what: Configuration) -> dict[str, object]:
    data = asdict(what)
    return {**data, "size": "x".join(map(str, data["size"]))}


def to_json(report: Report) -> str:
    """Write the whole report as JSON on one line, as ``fmedge compare`` reads it."""
    return json.dumps(report.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def to_html(report: Report) -> str:
    """Write the report as an HTML page."""
    return render_report({report.machine.processor: report}).decode()


FORMS: dict[str, Callable[[Report], str]] = {".json": to_json, ".csv": to_csv, ".md": to_markdown, ".html": to_html}
"""The functions that write ``--output``, by the file's suffix."""


def require_form(path: Path) -> None:
    """Check, before anything is measured, that a file's suffix is in :data:`FORMS`.

    Raises:
        UsageError: The suffix is another.
    """
    if path.suffix.lower() not in FORMS:
        raise UsageError(f"Unknown file type: '{path}'. Allowed: a name that ends in {', '.join(FORMS)}.")
