"""Make the tables of a report: all figures, what has none, and a comparison of the machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fmedge.data.energy import EnergyPerImage
from fmedge.data.measurement import Measurement
from fmedge.data.telemetry import NOT_ASKED, Telemetry, short_reason
from fmedge.render.elements import Element, element
from fmedge.render.report_rows import Gap, Layout, Row
from fmedge.render.report_words import milliseconds

NONE = "\u2013"
"""Shown where there is no figure."""


SETS = {
    "main": "Main figures",
    "runs": "Single runs",
    "work": "Work done",
    "start": "Start and memory",
    "energy": "Energy and heat",
    "where": "How it ran",
    "all": "All",
}
"""Sets of columns, by their names in ``data-in``, and what the reader calls them; the first is shown first, and of that
the columns of ``phone`` alone on a phone. All columns side by side are twice as wide as a screen."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures.

    Attributes:
        head: Its name.
        meaning: Its meaning, shown when the reader points at it.
        sets: The names of the :data:`SETS` that it belongs to, with spaces between.
        value: The figure; None where there is none.
        text: The figure in words.
        absent: Says why there is no figure, in a word or two; the notes of the row have more.
    """

    head: str
    meaning: str
    sets: str
    value: Callable[[Row], float | None]
    text: Callable[[float], str]
    absent: Callable[[Row, Telemetry | None], str] = lambda _row, _seen: NONE


def _time(head: str, meaning: str, sets: str, value: Callable[[Measurement], float | None]) -> Column:
    return Column(head, meaning, sets, lambda row: value(row.measured), milliseconds)


def _scaled(head: str, meaning: str, sets: str, value: Callable[[Measurement], float | None], form: str) -> Column:
    return Column(head, meaning, sets, lambda row: value(row.measured), lambda number: format(number, form))


def _energy(head: str, meaning: str, value: Callable[[EnergyPerImage], float | None]) -> Column:
    return Column(
        head,
        meaning,
        "energy",
        lambda row: value(row.measured.energy) if row.measured.energy else None,
        "{:.3g}".format,
        lambda row, seen: "one turn" if row.measured.energy else short_reason(row.measured.no_energy, seen),
    )


def _no_heat(_row: Row, seen: Telemetry | None) -> str:
    return "not recorded" if seen is None else "no sensor"


def _no_throttling(_row: Row, seen: Telemetry | None) -> str:
    return "not recorded" if seen is None else "not told"


_MEDIAN = "p50 ms"
_JOULES = "J/image"

COLUMNS = (
    _time(
        _MEDIAN,
        "median: half of the runs took no longer",
        "main runs work start energy where phone",
        lambda each: each.p50,
    ),
    _time("p90 ms", "nine of ten runs took no longer", "main runs", lambda each: each.p90),
    _time("p95 ms", "19 of 20 runs took no longer", "runs", lambda each: each.p95),
    _time("p99 ms", "99 of 100 runs took no longer; shown from 1,000 runs on", "runs", lambda each: each.p99),
    _time("min ms", "the fastest run", "runs", lambda each: each.min),
    _scaled(
        "± %",
        "spread of the middle half of the runs, relative to the median",
        "runs",
        lambda each: 100 * each.iqr / each.p50,
        ".1f",
    ),
    _scaled("images/s", "images divided by total time", "main work", lambda each: each.images_per_s, ",.1f"),
    _scaled("GFLOP/s", "billions of operations per second at the median", "work", lambda each: each.gflops, ",.1f"),
    _scaled(
        "of limit %",
        "speed relative to a perfect direct float32 convolution on this machine",
        "main work",
        lambda each: None if each.limit_share is None else 100 * each.limit_share,
        ",.0f",
    ),
    Column(
        "SNR dB",
        "agreement with the float64 reference; higher is better",
        "main phone",
        lambda row: row.snr_db,
        "{:.1f}".format,
    ),
    _scaled("load", "cores kept busy on average", "work", lambda each: each.load, ".2f"),
    _scaled(
        "others",
        "cores that other processes kept busy",
        "work",
        lambda each: None if each.others_s is None or not each.wall_s else each.others_s / each.wall_s,
        ".2f",
    ),
    _time("load ms", "reading, checking and loading the model", "start", lambda each: each.load_s),
    _time("first ms", "the first run", "start", lambda each: each.first_run_s),
    _scaled(
        "memory MB",
        "peak memory of the process: Python, engine and model",
        "main start",
        lambda each: None if each.peak_memory_bytes is None else each.peak_memory_bytes / 1e6,
        ",.0f",
    ),
    _scaled("model MB", "size of the model's files", "main start", lambda each: each.file_size / 1e6, ",.2f"),
    _energy(_JOULES, "energy per image in joules, without what the idle machine takes", lambda each: each.energy_j),
    _energy("\u00b1 J", "standard uncertainty of the energy per image", lambda each: each.uncertainty_j),
    _energy("gross J", "energy per image with what the idle machine takes", lambda each: each.gross_j),
    _energy("idle W", "power of the idle machine, before and after", lambda each: each.idle_w),
    Column(
        "max \u00b0C",
        "highest temperature of the processor during the turns",
        "energy",
        lambda row: row.measured.hottest_c,
        "{:.0f}".format,
        _no_heat,
    ),
    Column(
        "throttled",
        "turns during which the machine slowed its processor down",
        "energy",
        lambda row: len(row.measured.throttled) if row.throttling_known else None,
        "{:.0f}".format,
        _no_throttling,
    ),
    _scaled("runs", "measured runs", "runs", lambda each: each.n, ",.0f"),
    _scaled("warm-up", "runs before the measured ones", "runs", lambda each: each.warm_up_runs, ",.0f"),
)
"""Every figure of a row. *load* counts cores; *load ms* is the time to load the model."""

_WORDS = {"doubts": "main", "ran on": "where", "model": "where", "notes": "where"}
"""Columns of words, by name, and the sets that they belong to."""


def column_chooser() -> Element:
    """Return the menu of the sets of columns. It is hidden until a script can obey it; until then, all are shown."""
    options = [element("option", words, value=name) for name, words in SETS.items()]
    return element("label", "Columns ", element("select", *options, id="columns"), hidden="hidden")


def figures_table(layout: Layout) -> Element:
    """Return a table of all rows with all figures."""
    several = len(layout.machines) > 1
    header = [_header(head, "", "text") for head in ["machine"] * several + ["layer", "choice"]]
    header += [_header(column.head, column.meaning, "number", data_in=_sets(column, layout)) for column in COLUMNS]
    header += [_header(head, "", "text", data_in=sets) for head, sets in _WORDS.items()]
    return element(
        "table",
        element("caption", "Click a column's name to sort by it."),
        element("thead", element("tr", *header)),
        element("tbody", *[_figures_row(layout, row) for row in layout.rows]),
        id="figures",
    )


def gaps_table(layout: Layout) -> Element:
    """Return a table of what has no figures, with the reason."""
    heads = ["machine"] * (len(layout.machines) > 1) + ["layer", "choice", "reason"]
    rows = [
        element(
            "tr",
            *_names(layout, gap),
            element("td", element("b", kind), f": {gap.missing.reason}"),
            class_=f"missing {kind}",
        )
        for gap in layout.gaps
        for kind in ["failed" if gap.missing.exit_code else "skipped"]
    ]
    header = element("tr", *[_header(head, "", "text") for head in heads])
    return element(
        "table",
        element("caption", "What has no figures, and why."),
        element("thead", header),
        element("tbody", *rows),
        id="gaps",
    )


def _header(head: str, meaning: str, kind: str, **attributes: str) -> Element:
    button = element("button", head, type="button", **({"title": meaning} if meaning else {}))
    return element("th", button, scope="col", data_kind=kind, **attributes)


def _names(layout: Layout, row: Row | Gap) -> list[Element]:
    machine = [element("td", layout.machines[row.machine])] * (len(layout.machines) > 1)
    return [*machine, _task(layout, row.task), element("td", row.choice)]


def _task(layout: Layout, task: int) -> Element:
    """Return the cell that names a task; on a phone, a layer's name may break at its underscores."""
    first, *rest = layout.tasks[task].split("_")
    return element("th", first, *(each for part in rest for each in ("_", element("wbr"), part)), scope="row")


def _figures_row(layout: Layout, row: Row) -> Element:
    measured = row.measured
    warnings = measured.warnings()
    words: list[str | Element] = [
        ", ".join(measured.doubts),
        f"{measured.active_provider}: {measured.placement}",
        element("code", measured.file_sha256[:8], title=measured.file_sha256),
        " ".join((*map(_short, warnings), *_why_no_energy(measured))),
    ]
    cells = [*_names(layout, row), *(_figure(column, row, layout) for column in COLUMNS)]
    cells += [element("td", each, data_in=sets) for each, sets in zip(words, _WORDS.values(), strict=True)]
    return element("tr", *cells, **({"class_": "shaky"} if warnings else {}))


def _why_no_energy(measured: Measurement) -> list[str]:
    """Return why a row has no energy where that was asked for, as a sentence."""
    asked = measured.no_energy not in ("", NOT_ASKED)
    return [f"No energy: {measured.no_energy}."] if asked else []


def _short(warning: str) -> str:
    """Return a warning without the name of its row."""
    return warning.rpartition(": ")[2]


def _sets(column: Column, layout: Layout) -> str:
    """Return the sets of a column; energy is a main figure where it was measured."""
    measured = column.head == _JOULES and any(row.measured.energy for row in layout.rows)
    return f"main {column.sets}" if measured else column.sets


def _figure(column: Column, row: Row, layout: Layout) -> Element:
    value = column.value(row)
    sets = {"class_": "number", "data_in": _sets(column, layout)}
    if value is None:
        return element("td", column.absent(row, layout.reports[row.machine].telemetry), **sets)
    marked = column.head == _MEDIAN and row.measured.warnings()
    return element("td", column.text(value) + (" !" if marked else ""), data_value=repr(float(value)), **sets)


def ratio_table(layout: Layout) -> Element:
    """Return a table of medians on several machines, relative to the first machine that has one."""
    found: dict[tuple[int, str], dict[int, Row]] = {}
    for row in layout.rows:
        found.setdefault((row.task, row.choice), {}).setdefault(row.machine, row)
    shared = {key: rows for key, rows in found.items() if len(rows) > 1}
    header = [_header(head, "", "text") for head in ("layer", "choice")]
    header += [
        _header(name, "median in ms, and speed relative to the first machine", "number") for name in layout.machines
    ]
    body = [
        element(
            "tr",
            _task(layout, task),
            element("td", choice),
            *(_ratio(rows, machine) for machine in range(len(layout.machines))),
        )
        for (task, choice), rows in shared.items()
    ]
    caption = "Medians in ms; in parentheses the speed relative to the first machine with this row."
    return element(
        "table",
        element("caption", caption if body else "No layer was measured on several machines with the same choice."),
        element("thead", element("tr", *header)),
        element("tbody", *body),
        id="ratios",
    )


def _ratio(rows: dict[int, Row], machine: int) -> Element:
    if machine not in rows:
        return element("td", NONE, class_="number")
    first = rows[min(rows)].measured.p50
    seconds = rows[machine].measured.p50
    ratio = "" if machine == min(rows) else f" ({first / seconds:.2f} \u00d7)"
    return element("td", milliseconds(seconds) + ratio, class_="number", data_value=repr(seconds))
