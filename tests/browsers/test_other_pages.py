"""The grid and the report in every browser; and that complaints of pages are heard in each."""

import re

import numpy as np
import pytest

from fmedge.data.page_options import PageOptions
from fmedge.render.page import render_page
from fmedge.render.report import render_report
from support.page_samples import make_maps, random_maps
from support.report_samples import several
from support.viewports import DESKTOP

pytestmark = pytest.mark.browsers

CHARTS = ("trade", "times", "machines", "stages", "runs")
DESCRIPTION = "return document.querySelector(`#${arguments[0]} [role=img]`).ariaLabel"


def test_the_grid_holds_the_values(open_page):
    values = random_maps(5, 9, 14)
    tab = open_page(render_page(make_maps(values), options=PageOptions(style="grid")))
    tab.wait_ready()
    shown = tab.evaluate(
        "return document.getElementById('plot')._fullData.map(({ z }) => [...z].map((row) => [...row]))"
    )
    np.testing.assert_array_equal(np.float32(shown), values)
    assert tab.evaluate("return document.querySelectorAll('#plot .heatmaplayer image').length") == 5
    tab.move(*heatmap_point(tab, 2, 3, 5, values.shape))
    tab.wait("document.querySelector('#plot .hovertext')")
    (told,) = re.findall(r"value (\S+)", tab.text("#plot .hovertext").replace("\u2212", "-"))
    assert float(told) == pytest.approx(float(values[2, 3, 5]), rel=1e-3)


def heatmap_point(tab, number, row, column, shape):
    left, top, width, height = tab.box(f"#plot .nsewdrag[data-subplot=x{number + 1}y{number + 1}]")
    return left + (column + 0.5) / shape[2] * width, top + (row + 0.5) / shape[1] * height


def test_the_report_draws_its_charts_and_sorts_its_table(open_page):
    tab = open_page(render_report(several()))
    tab.wait_ready()
    for name in CHARTS:
        assert tab.box(f"#{name} .main-svg")[2] > 300, name
        assert "block1_conv1" in tab.evaluate(DESCRIPTION, name)
    tab.choose("#task", "1")
    tab.wait("document.querySelector('#times [role=img]')?.ariaLabel.includes('block3_conv3')")
    heads = tab.evaluate("return [...document.querySelectorAll('#figures th button')].map((each) => each.textContent)")
    number = next(index for index, head in enumerate(heads) if head.startswith("p50"))
    tab.evaluate("document.querySelectorAll('#figures th button')[arguments[0]].focus()", number)
    tab.press("Enter")
    tab.wait("document.querySelector('#figures th[aria-sort]')?.ariaSort === 'ascending'")
    cells = tab.evaluate(
        "const column = document.querySelector('#figures th[aria-sort]').cellIndex;"
        "const rows = [...document.querySelectorAll('#figures tbody tr:not(.missing)')];"
        "return rows.map((row) => row.cells[column].textContent)"
    )
    times = [float(cell.rstrip(" !")) for cell in cells]
    assert len(times) > 5
    assert times == sorted(times)


MISTAKES = {
    "error": "setTimeout(() => { throw new Error('a mistake'); })",
    "console": "console.error('a word')",
    "promise": "Promise.reject(new Error('a promise'))",
    "policy": "document.body.append(Object.assign(new Image(), { src: 'https://pictures.example/a.png' }))",
}


@pytest.mark.parametrize("script", MISTAKES.values(), ids=MISTAKES)
def test_a_complaint_is_heard(engine, tmp_path, script):
    """Otherwise the silence of the other tests would mean nothing."""
    tab = engine.open_tab(tmp_path, "light", DESKTOP)
    head = '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="img-src data:">'
    tab.open(f"<!DOCTYPE html><html><head>{head}</head><body><script>{script}</script></body></html>".encode())
    assert tab.wait_complaints()
    tab.close()
