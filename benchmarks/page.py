"""Draw the page of the benchmarks' results: charts and tables in one file that needs no network."""

from __future__ import annotations

import html
import statistics
from pathlib import Path
from typing import Any

from fmedge.render import plotly_js
from fmedge.render.document import asset, comment, fill, join_modules, json_block, policy, script_hash
from fmedge.render.elements import Element, element, to_html
from growth import verdicts
from tables import OWN, Row, best_of, layers_of, milliseconds

ASSETS = Path(__file__).parent / "page_assets"
LEVEL = 0.03
"""Relative difference below which two medians count as equal."""

Part = dict[str, Any]
Chart = dict[str, Any]


def render(found: dict[str, Part]) -> bytes:
    """Draw the page.

    Args:
        found: The contents of the parts' files by the parts' names, at least one.

    Returns:
        The file's content: UTF-8.
    """
    charts: list[Chart] = []
    content = [*_header(found)]
    for name, section in SECTIONS.items():
        if name in found:
            content += section(found[name]["rows"], charts)
    content += _where(found)
    plotly = plotly_js.prepare()
    script = join_modules(asset("embedded.js"), (ASSETS / "page.js").read_bytes())
    style = [asset("theme.css"), asset("report.css"), (ASSETS / "page.css").read_bytes()]
    return fill(
        (ASSETS / "page.html").read_bytes(),
        {
            "policy": policy(script_hash(script), plotly.sha256),
            "licence": comment(plotly.licence),
            "title": html.escape(TITLE).encode(),
            "style": b"\n".join(style),
            "content": to_html(*content),
            "data": json_block({"charts": charts}),
            "plotly": plotly.deflated,
            "script": script,
        },
    )


TITLE = "fmedge and its peers"


def _header(found: dict[str, Part]) -> list[Element]:
    part = next(iter(found.values()))
    machine = part["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores; {part['started'][:10]}; VGG16 feature maps in float32"
    header = [element("h1", TITLE), element("p", where, id="subtitle")]
    if any(each["quick"] for each in found.values()):
        header.append(element("p", "A quick pass: few turns, so figures are rough.", class_="warning"))
    return header


def _inference(rows: list[Row], charts: list[Chart]) -> list[Element]:
    sentences, figures = [], []
    for layer in layers_of(rows):
        sentences.append(element("li", _sentence(rows, layer)))
        own = sorted((row for row in rows if row["layer"] == layer), key=lambda row: row["median_s"])
        bars = [
            _bar(
                row["name"],
                1e3 * row["median_s"],
                f"{milliseconds(row['median_s'])} ms",
                f"{row['engine']}<br>{row['snr_db']:.0f} dB from the reference<br>{row['peak_bytes'] / 1e6:.0f} MB",
            )
            for row in own
        ]
        figures.append(_figure(charts, layer, "", {"rows": bars}))
    return [
        element("h2", "Time per photo"),
        element(
            "p",
            "Each takes the same photo of 224 by 224 pixels as bytes and returns the layer's maps as a new array, "
            f"in float32 with {rows[0]['threads']} threads. Shorter is better.",
        ),
        element("ul", *sentences),
        element("div", *figures, class_="charts"),
        _folded(
            ["layer", "who", "engine", "ms", "from ms", "to ms", "runs", "load ms", "memory, MB", "SNR, dB"],
            [
                [
                    row["layer"],
                    row["name"],
                    row["engine"],
                    *map(milliseconds, (row["median_s"], min(row["medians_s"]), max(row["medians_s"]))),
                    f"{row['runs']}",
                    f"{1e3 * row['load_s']:,.0f}",
                    f"{row['peak_bytes'] / 1e6:,.0f}",
                    f"{row['snr_db']:.1f}",
                ]
                for row in rows
            ],
            words=3,
        ),
    ]


def _sentence(rows: list[Row], layer: str) -> str:
    ours, theirs = best_of(rows, layer, own=True), best_of(rows, layer, own=False)
    ratio = theirs["median_s"] / ours["median_s"]
    times = f"{milliseconds(ours['median_s'])} ms with {ours['engine']}"
    other = f"{theirs['name']} ({milliseconds(theirs['median_s'])} ms)"
    if abs(ratio - 1) <= LEVEL:
        return f"{layer}: fmedge, {times}, is as fast as the fastest of the others, {other}."
    if ratio > 1:
        return f"{layer}: fmedge, {times}, is {ratio:.2f} times as fast as the fastest of the others, {other}."
    return f"{layer}: fmedge, {times}, takes {1 / ratio:.2f} times as long as the fastest of the others, {other}."


def _end_to_end(rows: list[Row], charts: list[Chart]) -> list[Element]:
    words = (
        "From the start of the process to the page of all maps: the tutorial program, with Keras and Plotly, and "
        "fmedge run. Both read the same photo and weights."
    )
    return _programs("From the photo to its page", words, rows, charts, "page")


def _export(rows: list[Row], charts: list[Chart]) -> list[Element]:
    words = (
        "From the start of the process to the ONNX file. fmedge compares it with a float64 computation before it is "
        "written; unchecked is without."
    )
    return _programs("Export", words, rows, charts, "model")


def _programs(title: str, words: str, rows: list[Row], charts: list[Chart], written: str) -> list[Element]:
    figures, lines = [], []
    for row in rows:
        bars = []
        for name, runs in row["runs"].items():
            wall, peak, size = (
                statistics.median(run[key] for run in runs) for key in ("wall_s", "peak_bytes", "file_bytes")
            )
            bars.append(_bar(name, wall, f"{wall:.2f} s", f"{peak / 1e6:.0f} MB of memory<br>{len(runs)} runs"))
            lines.append([row["layer"], name, f"{wall:.2f}", f"{peak / 1e6:,.0f}", f"{size / 1e6:.1f}", f"{len(runs)}"])
        caption = f"fmedge is {row['faster']:.1f} times as fast."
        figures.append(_figure(charts, row["layer"], caption, {"rows": bars}))
    head = ["layer", "who", "s", "memory, MB", f"{written}, MB", "runs"]
    return [
        element("h2", title),
        element("p", words),
        element("div", *figures, class_="charts"),
        _folded(head, lines, words=2),
    ]


def _growth(rows: list[Row], charts: list[Chart]) -> list[Element]:
    found = verdicts(rows)
    notes = [element("li", each["text"], **({} if each["met"] else {"class_": "missed"})) for each in found]
    figures = [
        _figure(charts, f"{title}, {layer}", caption, {"xtitle": xtitle, "ytitle": ytitle, "lines": lines})
        for axis, title, caption, xtitle, ytitle, x, y in GROWTHS
        for layer in layers_of(rows)
        if (lines := _lines(rows, axis, layer, x, y))
    ]
    table = [
        [
            *(
                row["layer"],
                row["backend"],
                f"{row['size'][0]} x {row['size'][1]}",
                f"{row['batch']}",
                f"{row['threads']}",
            ),
            milliseconds(row["median_s"]),
            f"{row['batch'] / row['median_s']:,.1f}",
            f"{_per_pixel(row):,.1f}",
            f"{row['peak_bytes'] / 1e6:,.0f}",
        ]
        for row in rows
    ]
    head = ["layer", "engine", "size", "batch", "threads", "ms", "images/s", "ns per pixel", "memory, MB"]
    return [
        element("h2", "Growth"),
        element("p", "How fmedge's time and memory grow with the image size, the batch and the threads."),
        element("ul", *notes),
        element("div", *figures, class_="charts"),
        _folded(head, table, words=2),
    ]


def _per_pixel(row: Row) -> float:
    return 1e9 * row["median_s"] / (row["batch"] * row["size"][0] * row["size"][1])


def _side(row: Row) -> str:
    return f"{row['size'][0]}²"


def _megapixels(row: Row) -> float:
    return row["size"][0] * row["size"][1] / 1e6


def _images(row: Row) -> float:
    return row["batch"] / row["median_s"]


GROWTHS = (
    ("pixels", "Time per pixel", "A level line is good.", "size", "ns per pixel", _side, _per_pixel),
    (
        "pixels",
        "Memory",
        "Of the whole process. A straight line is good.",
        "million pixels",
        "MB",
        _megapixels,
        lambda row: row["peak_bytes"] / 1e6,
    ),
    ("batch", "Batches", "Higher is better.", "images per batch", "images/s", lambda row: row["batch"], _images),
    ("threads", "Threads", "Higher is better.", "threads", "images/s", lambda row: row["threads"], _images),
)
"""Charts of growth: axis, title, caption, the labels of the axes, and how a row becomes a point."""


def _lines(rows: list[Row], axis: str, layer: str, x: Any, y: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    own = [row for row in rows if (row["axis"], row["layer"]) == (axis, layer)]
    engines = dict.fromkeys(row["backend"] for row in own)
    return [
        {
            "name": name,
            "x": [x(row) for row in own if row["backend"] == name],
            "y": [y(row) for row in own if row["backend"] == name],
        }
        for name in engines
    ]


SECTIONS = {"inference": _inference, "end_to_end": _end_to_end, "export": _export, "growth": _growth}
"""The function that draws each part, in the page's order."""


def _where(found: dict[str, Part]) -> list[Element]:
    lines = [
        [name, part["started"].replace("T", " ")[:16] + " UTC", f"{part['took_s']:.0f} s", part["fmedge"]]
        for name, part in found.items()
    ]
    machine = next(iter(found.values()))["machine"]
    memory = "" if machine["total_memory_bytes"] is None else f", {machine['total_memory_bytes'] / 1e9:.0f} GB"
    facts = (
        f"{machine['processor']}, {machine['architecture']}, {machine['cores']} cores{memory}; "
        f"{' '.join(machine['flags'])}; {machine['system']}, Python {machine['python']}"
    )
    table = _table(["part", "started", "took", "fmedge"], lines, words=4)
    return [element("h2", "Where and when"), element("p", facts), table]


def _bar(name: str, value: float, text: str, hover: str) -> dict[str, Any]:
    own = name.startswith(OWN)
    return {
        "name": f"<b>{name}</b>" if own else name, "value": value, "text": text, "own": own,
        "hover": f"<b>{name}</b>, {text}<br>{hover}",
    }  # fmt: skip


def _figure(charts: list[Chart], title: str, caption: str, chart: Chart) -> Element:
    """Return a placeholder for a chart, and add the chart to those that are drawn."""
    name = f"chart{len(charts)}"
    charts.append({"id": name, **chart})
    words = [f"{row['name']} {row['text']}" for row in chart.get("rows", ())] or [title]
    label = ", ".join(words).replace("<b>", "").replace("</b>", "")
    plot = element("div", id=name, class_="plot", role="img", aria_label=label)
    return element("figure", element("figcaption", element("h3", title), caption), plot)


def _folded(head: list[str], lines: list[list[str]], words: int) -> Element:
    return element("details", element("summary", "All figures"), _table(head, lines, words))


def _table(head: list[str], lines: list[list[str]], words: int) -> Element:
    """Return a table whose first columns contain words and the others figures."""

    def cell(tag: str, text: str, column: int) -> Element:
        return element(tag, text, class_="word" if column < words else "number")

    header = element("tr", *(cell("th", text, column) for column, text in enumerate(head)))
    body = [
        element(
            "tr",
            *(cell("td", text, column) for column, text in enumerate(line)),
            **({"class_": "own"} if any(text.startswith(OWN) for text in line) else {}),
        )
        for line in lines
    ]
    table = element("table", element("thead", header), element("tbody", *body))
    return element("div", table, class_="wide", role="region", aria_label=", ".join(head[:3]), tabindex="0")
