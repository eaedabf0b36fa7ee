"""``fmedge compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmedge.cli import options
from fmedge.cli.console import print_json, print_table, say
from fmedge.errors import RegressionFound

if TYPE_CHECKING:
    from fmedge.bench.compare import Change, Comparison

_ARROWS = {"slower": "↑ slower", "faster": "↓ faster", "same": "→ same", "unsure": "? too few processes or turns"}
_SIZES = {"slower": "↑ more", "faster": "↓ less"}
"""The same for metrics in bytes."""


def compare_command(
    before: Annotated[Path, typer.Argument(readable=False, metavar="BEFORE.json", help="The reference.")],
    after: Annotated[Path, typer.Argument(readable=False, metavar="AFTER.json", help="The report to compare with it.")],
    metric: Annotated[
        str,
        typer.Option(
            metavar="METRIC[,...]", help="p50, p90, p95, min, load, first_run, peak_memory, file_size, energy."
        ),
    ] = "p50",
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC:N%", help="Exit with 8 if METRIC is certainly worse by more than N%; may be repeated."
        ),
    ] = None,
    across_machines: Annotated[
        bool, typer.Option("--across-machines", help="Allow reports from different machines.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare two reports of fmedge bench: what got slower or faster, and whether that is more than chance."""
    from fmedge.bench.compare import compare_reports, parse_bound, require_metric
    from fmedge.data.bench_report import read_report

    bounds = [parse_bound(text) for text in fail_on or ()]
    metrics = [require_metric(name) for name in options.split(metric)]
    reports = read_report(before), read_report(after)
    found = compare_reports(
        *reports,
        [*metrics, *(bound.metric for bound in bounds)],
        across_machines=across_machines,
    )
    if as_json:
        print_json(_data(found))
    else:
        print_table(
            ["configuration", "metric", "before", "after", "change", "interval", ""],
            map(_row, found.changes),
            left=2,
        )
    for name, report in zip(("before", "after"), reports, strict=True):
        doubtful = sum(bool(measured.warnings()) for measured in report.measurements)
        if doubtful:
            count = f"{doubtful} of {len(report.measurements)} rows"
            say(f"Warning: {name}: {count} noisy, disturbed, unsettled or crowded. Measure again on a quiet machine.")
    for name, several in (("before", found.only_before), ("after", found.only_after)):
        for each in several:
            say(f"Only in {name}: {each.describe()}")
    regressions = found.regressions(bounds)
    if regressions:
        for line in regressions[1:]:
            say(f"Also worse: {line}")
        raise RegressionFound(f"{regressions[0]}. Regressions in all: {len(regressions)}; see the table.")


_UNITS = {"peak_memory": (1e-6, "MB"), "file_size": (1e-6, "MB"), "energy": (1e3, "mJ")}
"""Factors and units of metrics that are no times; these become smaller or larger, not faster or slower."""


def _row(change: Change) -> list[str]:
    sized = change.metric in _UNITS
    scale, unit = _UNITS.get(change.metric, (1e3, "ms"))
    known = change.verdict != "unsure" and change.low != change.high
    return [
        change.configuration.describe(),
        change.metric,
        f"{scale * change.before:.2f} {unit}",
        f"{scale * change.after:.2f} {unit}",
        f"{100 * (change.ratio - 1):+.1f} %",
        f"{100 * (change.low - 1):+.1f} to {100 * (change.high - 1):+.1f} %" if known else "-",
        (_ARROWS | _SIZES if sized else _ARROWS)[change.verdict],
    ]


def _data(found: Comparison) -> dict[str, object]:
    changes: list[dict[str, object]] = []
    for change in found.changes:
        known = change.verdict != "unsure"
        interval = {"low": change.low if known else None, "high": change.high if known else None}
        changes.append({**asdict(change), **interval, "ratio": change.ratio, "verdict": change.verdict})
    return {
        "changes": changes,
        "only_before": [asdict(each) for each in found.only_before],
        "only_after": [asdict(each) for each in found.only_after],
        "failed": [asdict(each) for each in found.failed],
    }
