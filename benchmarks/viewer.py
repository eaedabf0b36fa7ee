"""Measure the feature-map page in headless Chromium: how soon it opens, how fast it responds, how much memory it uses.

Every layer's page is opened alternately with an empty page of the whole plotly.js, so that a machine that drifts
affects both alike. Times are medians, from the browser's own clock: opening from the start of navigation to the first
frame after the page reports that it is drawn, everything else from the user's choice to the first frame after it is
drawn.

    python benchmarks/viewer.py --image photo.jpg --weights weights.h5 --layer block1_conv1,block3_conv3
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

FRAMES = "await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));"
"""Wait until what was drawn is on the screen: it is drawn in one frame and shown by the next."""

CHANGE = f"""async (changes) => {{
  const start = performance.now();
  await show(changes);
  {FRAMES}
  return performance.now() - start;
}}"""

ZOOM = f"""async (range) => {{
  const start = performance.now();
  await Plotly.relayout('overview', {{ 'xaxis.range': [0, range], 'yaxis.range': [range, 0] }});
  {FRAMES}
  return performance.now() - start;
}}"""

EMPTY = """<!DOCTYPE html><meta charset="utf-8"><body><div id="plot"></div><script>{plotly}</script>
<script>Plotly.newPlot('plot', [], {{}}).then(() => {{ document.body.dataset.state = 'ready'; }})</script>"""

OPENED = f"""async () => {{
  while (document.body?.dataset.state !== 'ready') await new Promise((next) => setTimeout(next, 1));
  {FRAMES}
  return performance.now();
}}"""


def main() -> None:
    """Make the pages, measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a photo; default: the example picture")
    parser.add_argument("--layer", default="all", help="layers separated by commas, or all")
    parser.add_argument("--weights", default="untrained", help="as for fmedge run")
    parser.add_argument("--models", type=Path, help="folder of models")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--values", default="12bit")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = _make_pages(chosen, folder)
        rows = _measure_all(pages, folder, chosen.runs)
    _print(rows)
    if chosen.output:
        chosen.output.write_text(json.dumps(rows, indent=2) + "\n")


def _make_pages(chosen: argparse.Namespace, folder: Path) -> dict[str, tuple[Path, float]]:
    """Make each layer's page, before and after ReLU where it has both; return it with the seconds that this took."""
    import fmedge
    from fmedge.model.stock import VGG16_LAYERS

    image = chosen.image
    if image is None:
        from draw_picture import draw

        image = folder / "example.png"
        draw().save(image)
    wanted = [spec.name for spec in VGG16_LAYERS] if chosen.layer == "all" else chosen.layer.split(",")
    pages: dict[str, tuple[Path, float]] = {}
    for spec in VGG16_LAYERS:
        if spec.name in wanted:
            both = spec.kind == "conv"
            maps = fmedge.extract(
                image,
                spec.name,
                "none" if both else "relu",
                weights=chosen.weights,
                models=chosen.models or folder / "models",
            )
            options = fmedge.PageOptions(values=chosen.values, both=both)
            seconds: list[float] = []
            for _ in range(5):
                start = time.perf_counter()
                (folder / f"{spec.name}.html").write_bytes(fmedge.render_page(maps, options=options))
                seconds.append(time.perf_counter() - start)
            pages[spec.name] = folder / f"{spec.name}.html", statistics.median(seconds)
    return pages


def _measure_all(pages: dict[str, tuple[Path, float]], folder: Path, runs: int) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    empty = folder / "empty.html"
    empty.write_text(EMPTY.format(plotly=get_plotlyjs()), encoding="utf-8")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    rows: list[dict[str, Any]] = []
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        browser = driver.chromium.launch(executable_path=path, args=flags)
        for layer, (page, written_s) in pages.items():
            found = [{"empty_ms": _open(browser, empty), **_measure(browser, page)} for _ in range(runs)]
            medians = {name: statistics.median(each[name] for each in found) for name in found[0]}
            rows.append({"layer": layer, "size_bytes": page.stat().st_size, "written_s": written_s, **medians})
        browser.close()
    return rows


def _open(browser: Browser, path: Path) -> float:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    opened = page.evaluate(OPENED)
    context.close()
    return opened


def _measure(browser: Browser, path: Path) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    found = {"open_ms": page.evaluate(OPENED)}
    width = page.evaluate("overview.grid.width")
    zooms = [page.evaluate(ZOOM, width * share) for share in (0.8, 0.6, 0.4, 0.3, 0.2)]
    page.evaluate(ZOOM, width)
    found["zoom_ms"] = statistics.median(zooms)
    views = page.evaluate("header.views")
    switches = [page.evaluate(CHANGE, {"view": view}) for view in (views[1:] + views[:1]) * 2 if len(views) > 1]
    found["switch_ms"] = max(switches, default=0.0)
    found["first_channel_ms"] = page.evaluate(CHANGE, {"channel": 5})
    found["channel_ms"] = statistics.median(page.evaluate(CHANGE, {"channel": number}) for number in (6, 7, 20, 8))
    found["heap_mb"] = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    context.close()
    return found


def _print(rows: list[dict[str, Any]]) -> None:
    print("layer            page  written   empty    open  beyond    zoom  switch  1st channel  next    heap")
    for row in rows:
        print(
            f"{row['layer']:13} {row['size_bytes'] / 1e6:5.2f} MB {row['written_s']:5.3f} s {row['empty_ms']:5.0f}"
            f" {row['open_ms']:7.0f} {row['open_ms'] - row['empty_ms']:7.0f} {row['zoom_ms']:7.0f}"
            f" {row['switch_ms']:7.0f} {row['first_channel_ms']:8.0f} {row['channel_ms']:9.0f} {row['heap_mb']:5.0f} MB"
        )


if __name__ == "__main__":
    main()
