"""Write the figures as tables, as the README shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OWN = "fmedge"
"""Beginning of the names of fmedge's own rows."""

Row = dict[str, Any]


def milliseconds(seconds: float) -> str:
    """Format a time in milliseconds with about three digits: 0.86, 5.21, 38.4, 152."""
    value = 1e3 * seconds
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def layers_of(rows: Sequence[Row]) -> list[str]:
    """Return the layers of the rows, in the order in which they were measured."""
    return list(dict.fromkeys(row["layer"] for row in rows))


def best_of(rows: Sequence[Row], layer: str, *, own: bool) -> Row:
    """Return the fastest row of a layer: fmedge's own, or its peers'."""
    return min(
        (row for row in rows if row["layer"] == layer and row["name"].startswith(OWN) == own),
        key=lambda row: row["median_s"],
    )


def readme_table(part: dict[str, Any]) -> str:
    """Write the results of inference as a Markdown table: a row per peer, a column per layer.

    Args:
        part: The content of ``inference.json``.
    """
    rows, machine = part["rows"], part["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {part['started'][:10]}"
    layers = layers_of(rows)
    names = sorted(dict.fromkeys(row["name"] for row in rows), key=lambda name: name.startswith(OWN))
    cell = {(row["name"], row["layer"]): row for row in rows}
    lines = [
        f"Milliseconds per photo, float32, {rows[0]['threads']} threads; {where}:",
        "",
        "| | " + " | ".join(layers) + " |",
        "|---|" + "---|" * len(layers),
    ]
    for name in names:
        found = [cell.get((name, layer)) for layer in layers]
        lines.append(f"| {name} | " + " | ".join(_cell(row, rows) for row in found) + " |")
    factors = [
        f"{best_of(rows, layer, own=False)['median_s'] / best_of(rows, layer, own=True)['median_s']:.1f}"
        for layer in layers
    ]
    lines.append(
        "| fmedge against the fastest of its peers | " + " | ".join(f"{each} times" for each in factors) + " |"
    )
    return "\n".join(lines)


def _cell(row: Row | None, rows: Sequence[Row]) -> str:
    """Format a cell; the fastest of a layer is bold."""
    if row is None:
        return "-"
    text = milliseconds(row["median_s"])
    fastest = min(each["median_s"] for each in rows if each["layer"] == row["layer"])
    return f"**{text}**" if row["median_s"] == fastest else text
