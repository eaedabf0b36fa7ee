"""Write the sentences of a report: the fastest choice, what it costs, and where it was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import median

from fmedge.data.bench_report import Report
from fmedge.data.measurement import Measurement
from fmedge.data.telemetry import telemetry_words
from fmedge.render.elements import Element, element
from fmedge.render.report_rows import Layout, Row
from fmedge.system.wording import plural

CLOSE = 0.03
"""Medians that differ by no more than this share count as equal: two processes of one program differ by that much."""


OPEN_TASKS = 4
"""Tasks whose sentences are always shown; all 18 layers on three machines would push the charts down by ten screens."""


def milliseconds(seconds: float) -> str:
    """Return a time in ms with about three digits."""
    value = 1e3 * seconds
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def moment(started: str) -> str:
    """Return when a report was started, to the minute; a time in another format stays as it is."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00$", r"\1 \2 UTC", started)


def doubts(measured: Measurement) -> list[str]:
    """Return why a figure is not to be trusted, a word each."""
    return list(measured.doubts)


def decibels(snr_db: float) -> str:
    """Return a signal-to-noise ratio in words; for equal arrays it is infinite."""
    return f"{snr_db:.1f}\u00a0dB" if math.isfinite(snr_db) else "no difference"


def error_share(snr_db: float) -> str:
    """Return the error relative to the values, both as root mean square, in percent with two digits."""
    percent = 100 * 10 ** (-snr_db / 20)
    return f"{percent:.2g}\u00a0%" if percent >= 0.01 else "less than 0.01\u00a0%"


def headlines(layout: Layout) -> list[Element]:
    """Return what to choose for every task, a list item per machine; of many tasks, the later ones are folded."""
    found: list[Element] = []
    for task, name in enumerate(layout.tasks):
        items: list[Element] = []
        for machine, machine_name in enumerate(layout.machines):
            prefix = [element("b", machine_name), ": "] if len(layout.machines) > 1 else []
            rows = layout.of(task, machine)
            items.append(element("li", *prefix, *_advice(rows), *_least_energy(rows)))
        found.append(element("section", element("h3", name), element("ul", *items, *_machine_ratio(layout, task))))
    shown = [element("div", *found[:OPEN_TASKS], class_="advice")] if found else []
    folded = found[OPEN_TASKS:]
    if folded:
        summary = element("summary", f"{plural(len(folded), 'more layer', 'more layers')}")
        shown.append(element("details", summary, element("div", *folded, class_="advice")))
    return shown


def _advice(rows: Sequence[Row]) -> list[str | Element]:
    """Return the fastest choice with float32, the fastest one at all, and what that costs.

    The rows are of one task and machine.
    """
    if not rows:
        return ["nothing could be measured; the table says why."]
    exact, best = next((row for row in rows if row.exact), None), rows[0]
    words: list[str | Element] = []
    if exact is None:
        words += ["No exact choice (float32 throughout) was measured. "]
    else:
        level = [row.choice for row in rows if row.exact and row is not exact and _level(exact, row)]
        words += ["Fastest exact choice: ", element("strong", exact.choice), f", {_time(exact)}"]
        words += [f" (level with {', '.join(level)}). " if level else ". "]
    if best is exact:
        others = any(not row.exact for row in rows)
        return [*words, "No less exact choice was faster." if others else "No less exact choice was measured."]
    words += ["Fastest overall: ", element("strong", best.choice), f", {_time(best)}"]
    if exact is not None:
        words += [f", {_times(exact.measured.p50 / best.measured.p50)} as fast"]
    return [*words, f". {_cost(exact, best)}"]


def _least_energy(rows: Sequence[Row]) -> list[str | Element]:
    """Return which choice takes the least energy, where that was measured."""
    known = [(row.measured.energy, row) for row in rows if row.measured.energy]
    if not known:
        return []
    energy, row = min(known, key=lambda each: each[0].energy_j)
    spread = "" if energy.uncertainty_j is None else f" \u00b1 {energy.uncertainty_j:.1g}"
    return [" Least energy: ", element("strong", row.choice), f", {energy.energy_j:.3g}{spread}\u00a0J per image."]


def _level(fastest: Row, row: Row) -> bool:
    return row.measured.p50 <= (1 + CLOSE) * fastest.measured.p50


def _time(row: Row) -> str:
    found = ", ".join(doubts(row.measured))
    return f"{milliseconds(row.measured.p50)}\u00a0ms{f' ({found})' if found else ''}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 10 else f"{ratio:.0f} times"


def _cost(exact: Row | None, best: Row) -> str:
    """Return what the fastest choice gives up."""
    if best.snr_db is None:
        math_name = best.measured.configuration.math
        why = f" with {math_name} arithmetic" if math_name != "fp32" else ""
        return f"Its accuracy{why} was not measured."
    before = f" instead of {decibels(exact.snr_db)}" if exact and exact.snr_db is not None else ""
    return (
        f"It is less accurate: {decibels(best.snr_db)}{before}, so the error is {error_share(best.snr_db)} "
        "of the values (root mean square)."
    )


def _machine_ratio(layout: Layout, task: int) -> list[Element]:
    """Compare the fastest exact choices of the machines."""
    found = [
        next((row for row in layout.of(task, number) if row.exact), None) for number in range(len(layout.machines))
    ]
    known = sorted((row.measured.p50, row.machine) for row in found if row is not None)
    if len(known) < 2:
        return []
    fastest, name = known[0][0], layout.machines[known[0][1]]
    words = [f"{_times(seconds / fastest)} as fast as {layout.machines[machine]}" for seconds, machine in known[1:]]
    return [element("li", "Of the exact choices, ", element("b", name), f" is {', '.join(words)}.")]


def warnings(layout: Layout) -> list[Element]:
    """Return what a reader should know before trusting the figures, a paragraph per machine."""
    found: list[str] = []
    for name, report in zip(layout.machines, layout.reports, strict=True):
        words: list[str] = []
        if report.interrupted:
            words.append("Interrupted: some rows have fewer runs, others are missing.")
        shaky = sum(bool(each.warnings()) for each in report.measurements)
        if shaky:
            words.append(
                f"{plural(shaky, 'row is', 'rows are')} noisy, disturbed, unsettled, crowded "
                "or throttled (marked ! in the table)."
            )
        if report.missing:
            failed = sum(each.exit_code != 0 for each in report.missing)
            counts = f"{failed} failed, {len(report.missing) - failed} skipped"
            words.append(f"{plural(len(report.missing), 'row has', 'rows have')} no figures ({counts}).")
        if words:
            found.append(" ".join([f"{name}:"] * (len(layout.machines) > 1) + words))
    return [element("p", text, class_="warning") for text in found]


def environment(name: str, report: Report) -> Element:
    """Return where and how a report was measured: a heading and pairs of words."""
    machine, (before, after) = report.machine, report.clocks
    clock = "not reported by the system"
    if before.megahertz and after.megahertz:
        clock = f"{median(before.megahertz):.0f} MHz before, {median(after.megahertz):.0f} MHz after"
    engines = {each.configuration.backend: each.engine_version for each in report.measurements}
    limits = [
        f"{limit.flops / 1e9:,.0f} GFLOP/s (matrix product), {limit.copy_bytes / 1e9:.1f} GB/s (copy) "
        f"with {plural(limit.threads, 'thread', 'threads')}"
        for limit in report.limits
    ]
    pairs = {
        "Processor": f"{machine.processor}, {machine.architecture}",
        "Features": " ".join(machine.flags) or "none reported",
        "Cores": str(machine.cores) + (f" (numbers {_ranges(machine.affinity)})" if machine.affinity else ""),
        "CPU quota": "none" if machine.cpu_quota is None else f"{machine.cpu_quota:g} cores",
        "Memory": "not reported"
        if machine.total_memory_bytes is None
        else f"{machine.total_memory_bytes / 1e9:.1f} GB",
        "Clock": clock,
        "Governor": ", ".join(sorted(set(after.governors or ()))) or "not reported by the system",
        "System": machine.system,
        "Software": f"fmedge {report.fmedge}, Python {machine.python}",
        "Engines": ", ".join(f"{engine} {version}" for engine, version in sorted(engines.items())) or "none",
        "Limit": "; ".join(limits) or "not measured",
        "Measured": f"{moment(report.started)}, at least {report.runs} runs and {report.seconds:g} s each, "
        f"in {plural(report.processes, 'process', 'processes')}",
    }
    if report.telemetry is not None:
        pairs |= telemetry_words(report.telemetry)
    terms = [each for term, text in pairs.items() for each in (element("dt", term), element("dd", text))]
    return element("section", element("h3", name), element("dl", *terms), class_="card")


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers in order, with consecutive ones as a range: ``0-3, 6``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
