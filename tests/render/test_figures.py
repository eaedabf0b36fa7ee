"""Outputs without the viewer: a figure, its page, and a picture."""

import io

import numpy as np
import pytest
from PIL import Image

import fmedge
from fmedge.data.page_options import PageOptions
from fmedge.errors import LimitExceeded, UsageError
from fmedge.render import figures, sheet
from fmedge.render.page import render_page
from support.messages import says
from support.page_samples import HOSTILE, Elements, make_maps, poisoned_maps, random_maps

GRID = PageOptions(style="grid")


def tutorial_figure(maps, channel):
    """Draw what the tutorial's program draws."""
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    if channel is not None:
        figure = go.Figure(go.Heatmap(z=np.maximum(maps.maps[0, channel], 0), colorscale="gray", showscale=False))
        figure.update_layout(title=f"{maps.layer} - Feature Map {channel}", width=400, height=400)
        return figure
    channels = maps.maps.shape[1]
    side = int(np.ceil(np.sqrt(channels)))
    figure = make_subplots(rows=side, cols=side)
    for index in range(channels):
        heatmap = go.Heatmap(z=np.maximum(maps.maps[0, index], 0), colorscale="gray", showscale=False)
        figure.add_trace(heatmap, row=index // side + 1, col=index % side + 1)
    figure.update_layout(title=maps.layer, width=800, height=800)
    return figure


@pytest.mark.parametrize("channel", [None, 5])
def test_the_figure_is_the_tutorials_the_right_way_up(channel):
    maps = make_maps(np.maximum(random_maps(10, 12, 14), 0))
    ours, theirs = fmedge.figure(maps, channel), tutorial_figure(maps, channel)
    assert len(ours.data) == len(theirs.data)
    for one, other in zip(ours.data, theirs.data, strict=True):
        np.testing.assert_array_equal(one.z, other.z)
        assert (one.xaxis, one.yaxis, one.colorscale, one.showscale) == (
            other.xaxis,
            other.yaxis,
            other.colorscale,
            other.showscale,
        )
    for key in ("title", "width", "height", "xaxis"):
        assert ours.layout[key] == theirs.layout[key]
    assert {axis.autorange for axis in ours.select_yaxes()} == {"reversed"}


def test_a_figure_for_a_channel_that_is_not_there(monkeypatch):
    with pytest.raises(UsageError, match="0 to 2"):
        fmedge.figure(make_maps(random_maps(3, 4, 4)), channel=3)
    monkeypatch.setattr(figures, "MAX_SUBPLOTS", 2)
    with pytest.raises(LimitExceeded, match="Name one"):
        fmedge.figure(make_maps(random_maps(3, 4, 4)))


def test_the_grid_is_one_page_of_the_same_bytes():
    maps = make_maps(random_maps(5, 6, 7))
    page = render_page(maps, options=GRID)
    assert page == render_page(maps, options=GRID)
    assert b"unsafe-eval" not in page
    for wrong in (([maps, maps], GRID), (maps, PageOptions(style="grid", both=True))):
        with pytest.raises(UsageError, check=says("--style viewer")):
            render_page(wrong[0], options=wrong[1])


def test_a_hostile_name_stays_text_in_the_grid():
    name = "</script><script>alert(1)</script><b>"
    page = render_page(make_maps(random_maps(2, 3, 3), layer=name, image_name=name), options=GRID)
    plain = render_page(make_maps(random_maps(2, 3, 3)), options=GRID)
    assert len(Elements(page).found) == len(Elements(plain).found)
    assert "&lt;b&gt;" in fmedge.figure(make_maps(random_maps(2, 3, 3), layer=name)).layout.title.text


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_sheet_is_the_right_way_up():
    values = np.zeros((4, 60, 60))
    values[:, 0, 0] = 1
    values[3, :30] = 1
    pixels = opened(sheet.render_sheet(make_maps(values)))
    left, top = sheet.MARGIN + 60 + sheet.GAP, 2 * sheet.LINE + 8 + 60 + sheet.GAP  # of the fourth tile
    assert pixels[top + 20, left + 40] == 255
    assert pixels[top + 40, left + 40] == 0


def test_sheets_of_other_shapes():
    assert opened(sheet.render_sheet(make_maps(random_maps(1, 1, 1)))).shape[1] == 56 + 2 * sheet.MARGIN
    raw = make_maps(random_maps(9, 60, 70), activation="none")
    one, both = (opened(sheet.render_sheet(raw, options=PageOptions(both=each))) for each in (False, True))
    assert both.shape[0] > 1.8 * one.shape[0]
    assert opened(sheet.render_sheet(raw, channel=3)).shape[0] < 0.6 * one.shape[0]
    broken = random_maps(3, 60, 60)
    broken[1, 2, 2:4] = np.nan, np.inf
    opened(sheet.render_sheet(make_maps(broken)))
    assert sheet.render_sheet(raw) == sheet.render_sheet(raw)


def test_a_sheet_that_is_too_large():
    with pytest.raises(LimitExceeded, check=says("--channel")):
        sheet.render_sheet(make_maps(np.zeros((2048, 200, 200), np.float32)))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_outside_stay_text_in_the_grid(name):
    plain, page = (Elements(render_page(poisoned_maps(each), options=GRID)) for each in ("plain", name))
    assert [tag for tag, _, _ in page.found] == [tag for tag, _, _ in plain.found]
    assert "noscript" in [tag for tag, _, _ in plain.found]
