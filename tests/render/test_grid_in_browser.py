"""The page of the tutorial's figure in a real browser: headless Chromium."""

from itertools import pairwise

import numpy as np
import pytest

from fmedge.data.page_options import PageOptions
from fmedge.render.page import render_page
from support.page_samples import UNTRAINED, make_maps, random_maps
from support.viewports import DESKTOP, PHONE

pytestmark = pytest.mark.browser

GRID = PageOptions(style="grid")


@pytest.fixture
def show(open_file):
    def open_page(maps, channel=None, viewport=DESKTOP, **options):
        return open_file(render_page(maps, channel=channel, options=GRID), viewport=viewport, **options)

    return open_page


def boxes(page, selector):
    found = f"[...document.querySelectorAll('{selector}')].map((each) => each.getBoundingClientRect().toJSON())"
    return page.evaluate(found)


def wait_until(page, condition):
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to it")


def test_the_grid_is_the_figure(show):
    values = random_maps(5, 9, 14)
    page = show(make_maps(values))
    rows = "_fullData.map(({ z }) => [...z].map((row) => [...row]))"
    shown = page.evaluate(f"document.getElementById('plot').{rows}")
    np.testing.assert_array_equal(np.float32(shown), values)
    assert page.locator("#plot .heatmaplayer image").count() == 5
    assert page.inner_text("h1") == "block1_conv1, after ReLU"


def test_its_buttons_send_nothing_anywhere(show):
    page = show(make_maps(random_maps(4, 6, 6)))
    titles = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map((each) => each.dataset.title)")
    assert titles == ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("viewport", "shape"), [(DESKTOP, (64, 8, 8)), (PHONE, (64, 8, 8)), (PHONE, (5, 9, 14)), (PHONE, (1, 6, 6))]
)
def test_every_map_fits_the_width_in_its_proportions(show, viewport, shape):
    page = show(make_maps(random_maps(*shape)), viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    images = boxes(page, "#plot .heatmaplayer image")
    assert len(images) == shape[0]
    for image in images:
        assert image["left"] >= 0
        assert image["right"] <= viewport["width"]
        assert image["height"] / image["width"] == pytest.approx(shape[1] / shape[2], rel=0.05)


def test_numbers_stand_above_their_maps_and_overlap_nothing(show):
    page = show(make_maps(random_maps(64, 8, 8)))
    images, labels = boxes(page, "#plot .heatmaplayer image"), boxes(page, "#plot .annotation-text")
    assert page.locator("#plot .annotation-text").all_text_contents() == [str(number) for number in range(64)]
    for image, label in zip(images, labels, strict=True):
        assert label["left"] == pytest.approx(image["left"], abs=3)
        assert image["top"] - 20 < label["top"]
        assert label["bottom"] <= image["top"] + 1
    assert not boxes(page, "#plot .xtick text, #plot .ytick text")


@pytest.mark.parametrize("channel", [None, 2])
def test_hover_tells_channel_place_and_value(show, channel):
    values = random_maps(4, 6, 8)
    page = show(make_maps(values), channel)
    number = 3 if channel is None else channel
    (box,) = boxes(page, "#plot .heatmaplayer image")[-1:]
    page.mouse.move(box["left"] + 5.5 / 8 * box["width"], box["top"] + 2.5 / 6 * box["height"])
    page.wait_for_selector("#plot .hoverlayer .hovertext")
    lines = page.evaluate(
        "[...document.querySelectorAll('#plot .hovertext tspan.line')].map((each) => each.textContent)"
    )
    assert lines[:2] == [f"channel {number}", "row 2, column 5"]
    assert float(lines[2].removeprefix("value ").replace("\u2212", "-")) == pytest.approx(
        values[number, 2, 5], rel=1e-5
    )


def test_one_map_has_axes(show):
    page = show(make_maps(random_maps(4, 60, 80)), 2)
    assert page.inner_text("h1") == "block1_conv1 - channel 2, after ReLU"
    ticks = boxes(page, "#plot .xtick text")
    assert len(ticks) > 3
    assert all(one["right"] < other["left"] for one, other in pairwise(ticks))


def test_dark_follows_the_system(show):
    page = show(make_maps(random_maps(4, 6, 6), weights=UNTRAINED), color_scheme="dark")
    ink = "getComputedStyle(document.querySelector('.annotation-text')).fill"
    paper = "getComputedStyle(document.querySelector('#plot .bglayer .bg')).fillOpacity"
    dark = page.evaluate(ink)
    assert float(page.evaluate(paper)) == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 28)"
    assert "random" in page.inner_text("#note")
    page.emulate_media(color_scheme="light")
    wait_until(page, lambda: page.evaluate(ink) != dark)


def test_on_paper_every_map_is_whole(show):
    page = show(make_maps(random_maps(64, 8, 8)))
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 670, "height": 900})
    wait_until(page, lambda: page.locator("#plot .main-svg").first.bounding_box()["width"] <= 670)
    assert max(image["right"] for image in boxes(page, "#plot .heatmaplayer image")) <= 670
    assert not any(box["width"] for box in boxes(page, ".modebar"))


def test_on_a_phone_a_finger_scrolls(show):
    page = show(make_maps(random_maps(64, 8, 8)), viewport=PHONE, has_touch=True, is_mobile=True)
    assert page.evaluate("document.getElementById('plot')._fullLayout.dragmode") is False
    touch = page.evaluate("getComputedStyle(document.querySelector('#plot .nsewdrag')).touchAction")
    assert touch in ("manipulation", "pan-x pan-y pinch-zoom")
