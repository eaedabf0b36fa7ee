"""Measure how soon pages open in each browser that is here, and what processor time they take to open.

Every page is opened in turns with an empty page of the whole plotly.js, so that a machine that drifts affects both
alike. The wall time is the browser's own: from the start of navigation to the second frame after the page says that it
is drawn. The processor time is that of all of the browser's processes from before the tab is made until then. Printed
are medians of the pairs, and of their differences.

    fmedge run photo.jpg --layer block1_conv1 --activation both --output page.html
    .venv-browsers/bin/python benchmarks/opening.py page.html    # after make browsers, for what drives the browsers
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.tabs import Playwright
    from support.webkit_tabs import WebKitGTK

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

DESKTOP = {"width": 1400, "height": 900}

EMPTY = """<!DOCTYPE html><meta charset="utf-8"><body><div id="plot"></div><p id="status"></p><script>{plotly}</script>
<script>Plotly.newPlot('plot', [], {{}}).then(() => {{ document.body.dataset.state = 'ready'; }})</script>
{watch}"""

WATCH = """<script>(function look() {
  if (document.body?.dataset.state !== 'ready') return setTimeout(look, 1);
  requestAnimationFrame(() => requestAnimationFrame(() => { window.drawn = performance.now(); }));
})()</script>"""
"""Notes when a page was drawn; it stands in front of the page's policy."""

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Open the pages, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path, nargs="+", help="pages that fmedge wrote")
    parser.add_argument("--browsers", default="chromium,firefox,webkitgtk")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        pages = {page.stem: page.read_bytes() for page in chosen.pages}
        print(f"{'browser':10} {'page':22} {'MB':>6} {'empty ms':>9} {'page ms':>8} {'sooner':>7}", end="")
        print(f" {'empty CPU':>10} {'page CPU':>9} {'less':>6}")
        for browser in chosen.browsers.split(","):
            _measure_in(browser, pages, chosen.runs, Path(name))


def _measure_in(browser: str, pages: dict[str, bytes], runs: int, folder: Path) -> None:
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    from support.tabs import Missing, Playwright
    from support.webkit_tabs import WebKitGTK

    empty = EMPTY.format(plotly=get_plotlyjs(), watch=WATCH).encode()
    with sync_playwright() as driver:
        try:
            engine = WebKitGTK() if browser == "webkitgtk" else Playwright(driver, browser)
        except Missing as missing:
            print(f"{browser}: {missing}")
            return
        _open(engine, empty, folder)
        for name, content in pages.items():
            watched = content.replace(b"<head>", b"<head>" + WATCH.encode(), 1)
            found = [(_open(engine, empty, folder), _open(engine, watched, folder)) for _ in range(runs)]
            wall, cpu = (
                [statistics.median(pair[which][kind] for pair in found) for which in (0, 1)] for kind in (0, 1)
            )
            sooner, less = (statistics.median(one[kind] - other[kind] for one, other in found) for kind in (0, 1))
            print(
                f"{browser:10} {name:22} {len(content) / 1e6:6.2f} {wall[0]:9.0f} {wall[1]:8.0f} {sooner:7.0f}"
                f" {cpu[0]:8.0f} ms {cpu[1]:6.0f} ms {less:6.0f}",
                flush=True,
            )
        engine.close()


def _open(engine: Playwright | WebKitGTK, content: bytes, folder: Path) -> tuple[float, float]:
    """Open a page in a tab of its own: milliseconds until it is drawn, and of processor time."""
    before = _cpu_ms()
    tab = engine.open_tab(folder, "light", DESKTOP)
    tab.open(content)
    while (drawn := tab.evaluate("return window.drawn")) is None:
        time.sleep(0.02)
    cpu = _cpu_ms() - before
    tab.close()
    time.sleep(0.3)
    return drawn, cpu


def _cpu_ms() -> float:
    """Processor time of all processes that descend from this one, in milliseconds."""
    stats: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            stats[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    children: dict[int, list[int]] = {}
    for process, (parent, _) in stats.items():
        children.setdefault(parent, []).append(process)
    total, waiting = 0, list(children.get(os.getpid(), ()))
    while waiting:
        process = waiting.pop()
        total += stats[process][1]
        waiting += children.get(process, ())
    return 1e3 * total / TICKS


if __name__ == "__main__":
    main()
