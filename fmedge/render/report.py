"""Make the report page: measurements as sentences, charts and tables in one file."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from fmedge.data.bench_report import Report
from fmedge.data.telemetry import Telemetry
from fmedge.render import plotly_js
from fmedge.render.document import asset, assets, comment, fill, json_block, policy, script, script_hash
from fmedge.render.elements import Element, element, to_html
from fmedge.render.report_rows import Layout, Row, front, lay_out
from fmedge.render.report_tables import column_chooser, figures_table, gaps_table, ratio_table
from fmedge.render.report_words import (
    decibels,
    doubts,
    environment,
    error_share,
    headlines,
    milliseconds,
    moment,
    warnings,
)

SCRIPTS = ("embedded.js", "chart_parts.js", "charts.js", "report.js")
"""The page's own script in parts; each uses what the previous ones define."""

SAMPLES = 200
"""Most runs of a row that are drawn; if there are more, a sample chosen evenly from the sorted runs stands for them."""

HIGHEST_DB = 200.0
"""Where a result that equals its reference is drawn; float32 lies below 150."""


def render_report(reports: Mapping[str, Report]) -> bytes:
    """Draw the measurements of one or more machines as one self-contained HTML page.

    The page needs no network. The same reports give the same bytes.

    Args:
        reports: The reports by the names of their machines, at least one.

    Returns:
        The file's content: UTF-8.
    """
    layout = lay_out(reports)
    plotly = plotly_js.place("embed")
    own = script(*SCRIPTS)
    title = _title(layout)
    return fill(
        asset("report.html"),
        {
            "policy": policy(script_hash(own), plotly.allowed),
            "licence": comment(plotly.licence),
            "title": html.escape(title).encode("utf-8", "replace"),
            "style": assets("theme.css", "report.css"),
            "header": to_html(element("h1", title), element("p", _subtitle(layout), id="subtitle"), *warnings(layout)),
            "headlines": to_html(*headlines(layout)) or b"<p>Nothing was measured.</p>",
            "choosers": to_html(*_choosers(layout)),
            "ratios": to_html(*_ratios(layout)),
            "figures": to_html(*_figure_tables(layout)),
            "environment": to_html(*map(environment, layout.machines, layout.reports)),
            "data": json_block(_data(layout)),
            "plotly": plotly.element,
            "script": own,
        },
    )


def _title(layout: Layout) -> str:
    return f"Feature maps, measured on {', '.join(layout.machines)}"


def _subtitle(layout: Layout) -> str:
    started = sorted(report.started for report in layout.reports)
    return "; ".join(filter(None, [layout.common, " and ".join(dict.fromkeys(map(moment, (started[0], started[-1]))))]))


def _scrolling(table: Element, label: str) -> Element:
    """Wrap a table so that it scrolls sideways by itself, also with the keyboard."""
    return element("div", table, class_="wide", role="region", aria_label=label, tabindex="0")


def _figure_tables(layout: Layout) -> list[Element]:
    found: list[Element] = []
    if layout.rows:
        found += [column_chooser(), _scrolling(figures_table(layout), "Table of all figures")]
    return found + ([_scrolling(gaps_table(layout), "Table of what has no figures")] if layout.gaps else [])


def _ratios(layout: Layout) -> list[Element]:
    if len(layout.machines) < 2:
        return []
    return [element("h2", "Machines side by side"), _scrolling(ratio_table(layout), "Table of the machines")]


def _choosers(layout: Layout) -> list[Element]:
    """Return the menus for the layer and machine that the charts show; a menu with a single entry is hidden."""
    found: list[Element] = []
    for name, label, options in (("task", "Layer", layout.tasks), ("machine", "Machine", layout.machines)):
        made = [element("option", option, value=str(number)) for number, option in enumerate(options)]
        hidden = {"hidden": "hidden"} if len(options) < 2 else {}
        found.append(element("label", f"{label} ", element("select", *made, id=name), **hidden))
    return found


def _data(layout: Layout) -> dict[str, Any]:
    """Return the data that the script draws."""
    on_front = {
        id(row)
        for task in range(len(layout.tasks))
        for machine in range(len(layout.machines))
        for row in front(layout.of(task, machine))
    }
    engines = sorted({row.measured.configuration.backend for row in layout.rows})
    forms = sorted({row.measured.configuration.form for row in layout.rows}, key=lambda form: (form != "fp32", form))
    stages = list(dict.fromkeys(name for row in layout.rows for name in row.measured.stages))
    return {
        "machines": layout.machines,
        "tasks": layout.tasks,
        "engines": engines,
        "forms": forms,
        "stages": stages,
        "heat": [_heat(report) for report in layout.reports],
        "rows": [
            {
                "machine": row.machine,
                "task": row.task,
                "engine": engines.index(row.measured.configuration.backend),
                "form": forms.index(row.measured.configuration.form),
                "choice": row.choice,
                "front": id(row) in on_front,
                "hover": _hover(row),
                **_figures(row, stages),
            }
            for row in layout.rows
        ],
    }


def _heat(report: Report) -> dict[str, Any]:
    """Return temperatures over time in seconds, and when the machine was held back; empty where it tells neither."""
    seen = report.telemetry or Telemetry()
    times = seen.times_s if seen.temperature_c else ()
    return {
        "times": [_rounded(time_s) for time_s in times],
        "temperatures": [_rounded(celsius) for celsius in seen.temperature_c],
        "throttled": [_rounded(time_s) for time_s in seen.throttled_s],
    }


def _figures(row: Row, stages: list[str]) -> dict[str, Any]:
    """Return the numbers that are drawn: milliseconds, decibels, shares."""
    measured = row.measured
    snr = row.snr_db
    return {
        "p50": _rounded(1e3 * measured.p50),
        "p90": _rounded(1e3 * measured.p90),
        "snr": None if snr is None else _rounded(min(snr, HIGHEST_DB)),
        "share": None if measured.limit_share is None else _rounded(measured.limit_share),
        "shaky": bool(measured.warnings()),
        "energy": None if measured.energy is None else _rounded(measured.energy.energy_j),
        "unsure": None
        if measured.energy is None or measured.energy.uncertainty_j is None
        else _rounded(measured.energy.uncertainty_j),
        "samples": [_rounded(1e3 * second) for second in _samples(measured.seconds)],
        "stages": [_rounded(1e3 * median(measured.stages[name])) if name in measured.stages else 0 for name in stages]
        if measured.stages
        else [],
    }


def _samples(seconds: tuple[float, ...]) -> list[float]:
    """Return the sorted runs; of more than :data:`SAMPLES`, the fastest, the slowest and an even choice between."""
    ordered = sorted(seconds)
    if len(ordered) <= SAMPLES:
        return ordered
    return [ordered[int(place)] for place in np.linspace(0, len(ordered) - 1, SAMPLES).round()]


def _rounded(value: float) -> float | None:
    """Round to five digits, which look the same as more; None for what JSON cannot hold."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _hover(row: Row) -> list[str]:
    """Return everything about a row, a line each."""
    each = row.measured
    snr = row.snr_db
    tail = "" if each.p99 is None else f", p99 {milliseconds(each.p99)}"
    lines = [
        row.choice,
        f"p50 {milliseconds(each.p50)} ms, p90 {milliseconds(each.p90)}, p95 {milliseconds(each.p95)}{tail}",
        f"fastest {milliseconds(each.min)} ms, {each.n:,} runs, middle half ±{100 * each.iqr / each.p50:.1f} %",
        "accuracy not measured" if snr is None else f"SNR: {decibels(snr)}, error {error_share(snr)} of the values",
        f"{each.images_per_s:,.1f} images/s"
        + ("" if each.gflops is None else f", {each.gflops:,.1f} GFLOP/s")
        + ("" if each.limit_share is None else f", {100 * each.limit_share:.0f} % of the limit"),
        f"load {milliseconds(each.load_s)} ms, first run {milliseconds(each.first_run_s)} ms",
        f"model {each.file_size / 1e6:,.2f} MB"
        + ("" if each.peak_memory_bytes is None else f", memory {each.peak_memory_bytes / 1e6:,.0f} MB"),
        f"{each.configuration.backend} {each.engine_version}, {each.load:.2f} cores busy",
    ]
    if each.energy is not None:
        lines.append(f"{each.energy.energy_j:.3g} J per image, idle {each.energy.idle_w:.2f} W ({each.energy.sensor})")
    return lines + [f"not reliable: {doubt}" for doubt in doubts(each)]
