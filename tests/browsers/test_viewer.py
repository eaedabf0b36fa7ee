"""The viewer in every browser: by pointer, by keys, by finger, in the dark, on paper and in a frame."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from fmedge.data.page_options import PageOptions
from fmedge.render.difference_page import render_difference
from fmedge.render.page import render_page
from support.page_places import assert_told, mosaic_point, panel_point, read_at, text_at, told, wait_title
from support.page_samples import channel_errors, make_maps, random_maps
from support.viewports import DESKTOP, PHONE

pytestmark = pytest.mark.browsers

VALUES = random_maps(9, 24, 32)


@pytest.fixture(scope="module")
def page():
    return render_page(make_maps(VALUES))


def places(shape, count):
    generator = np.random.default_rng(count)
    return [tuple(int(generator.integers(extent)) for extent in shape) for _ in range(count)]


def test_twenty_values_by_pointer(open_page, page):
    tab = open_page(page)
    tab.wait_ready()
    for place in places(VALUES.shape, 20):
        assert_told(read_at(tab, mosaic_point(tab, VALUES.shape, *place)), VALUES, place)


def screen_of(tab):
    with Image.open(io.BytesIO(tab.screenshot())) as screen:
        return screen.convert("RGB")


def test_twenty_values_as_greys(open_page, page):
    tab = open_page(page)
    tab.wait_ready()
    tab.move(1, 1)
    screen = screen_of(tab)
    for number, row, column in places((9, 20, 28), 20):
        place = number, row + 4, column + 4  # not the corner that holds the channel's number
        channel = VALUES[place[0]]
        level = 255 * (VALUES[place] - channel.min()) / (channel.max() - channel.min())
        point = tuple(map(int, mosaic_point(tab, VALUES.shape, *place)))
        assert screen.getpixel(point) == pytest.approx((level,) * 3, abs=3), place


def test_a_click_opens_a_channel_and_back_leads_to_all(open_page, page):
    tab = open_page(page)
    tab.wait_ready()
    tab.click(*mosaic_point(tab, VALUES.shape, 7, 5, 20))
    wait_title(tab, "block1_conv1 - channel 7, after ReLU")
    assert tab.evaluate("return location.hash") == "#channel=7&at=5%2C20"
    for _, row, column in places(VALUES.shape, 5):
        assert_told(read_at(tab, panel_point(tab, VALUES.shape, row, column)), VALUES, (7, row, column))
    tab.back()
    wait_title(tab, "block1_conv1, after ReLU")
    assert tab.evaluate("return [location.hash, document.getElementById('panels').hidden]") == ["", True]


def test_keys_open_a_channel_and_read_its_values(open_page, page):
    tab = open_page(page)
    tab.wait_ready()
    tab.press("ArrowRight", "ArrowRight", "ArrowDown", "Enter")
    wait_title(tab, "block1_conv1 - channel 4, after ReLU")
    tab.press("v")
    row, column = 12, 16
    for key, down, right in (
        ("", 0, 0),
        ("ArrowRight", 0, 1),
        ("ArrowDown", 1, 0),
        ("ArrowLeft", 0, -1),
        ("ArrowUp", -1, 0),
    ):
        if key:
            tab.press(key)
        row, column = row + down, column + right
        tab.wait(
            "document.getElementById('spoken').textContent.includes(arguments[0])", f"row {row}, column {column}\n"
        )
        assert_told(told(tab.text("#spoken")), VALUES, (4, row, column))
    tab.press("v")
    tab.wait("document.getElementById('tooltip').hidden")
    tab.press("ArrowRight")
    wait_title(tab, "block1_conv1 - channel 5, after ReLU")
    tab.press("Escape")
    wait_title(tab, "block1_conv1, after ReLU")


def test_keys_zoom_and_go_home(open_page, page):
    tab = open_page(page)
    tab.wait_ready()
    home = tab.box("#overview image")
    tab.press("+")
    tab.wait("document.querySelector('#overview image').getBoundingClientRect().width > arguments[0]", 1.4 * home[2])
    tab.press("0")
    width = "Math.abs(document.querySelector('#overview image').getBoundingClientRect().width - arguments[0]) < 1"
    tab.wait(width, home[2])
    assert tab.box("#overview image") == pytest.approx(home, abs=1)


def test_several_layers_and_both_sides_of_relu(open_page):
    deep = random_maps(12, 12, 16)
    layers = [make_maps(VALUES, activation="none"), make_maps(deep, layer="block2_conv1", activation="none")]
    tab = open_page(render_page(layers, options=PageOptions(both=True)), "#channel=3")
    tab.wait_ready()
    tab.press("ArrowDown")
    wait_title(tab, "block2_conv1 - channel 3, after ReLU")
    tab.press("r")
    wait_title(tab, "block2_conv1 - channel 3, before ReLU")
    assert_told(read_at(tab, panel_point(tab, deep.shape, 7, 9)), deep, (3, 7, 9))
    tab.click_on("#strip button")
    wait_title(tab, "block1_conv1 - channel 3, before ReLU")
    assert_told(read_at(tab, panel_point(tab, VALUES.shape, 20, 30)), VALUES, (3, 20, 30))
    tab.choose("#colours", "viridis")
    tab.wait("location.hash.endsWith('&colours=viridis')")
    tab.wait_ready()


def test_a_difference(open_page):
    second = VALUES.copy()
    second[2] += 0.5
    errors = channel_errors(np.where(np.arange(9) == 2, 12.5, np.inf))
    tab = open_page(render_difference([(make_maps(VALUES), make_maps(second))], [errors]))
    tab.wait_ready()
    said = text_at(tab, mosaic_point(tab, VALUES.shape, 0, 5, 6)).replace("\u2212", "-")
    assert said.startswith("channel 2\nrow 5, column 6\nA ")  # worst first
    assert float(re.search(r"\nB - A (\S+)", said)[1]) == pytest.approx(0.5, abs=1e-5)
    tab.evaluate("document.querySelector('#channel-table').open = true")
    tab.wait("document.querySelectorAll('#channel-rows tr').length === 9")
    tab.evaluate("document.querySelector('#channel-heads button').click()")
    assert tab.text("#channel-rows th") == "0"
    tab.click(*mosaic_point(tab, VALUES.shape, 0, 5, 6))
    wait_title(tab, "block1_conv1 - channel 2, B \u2212 A")
    assert "12.5 dB" in tab.text("#numbers")


def test_the_dark_is_dark(open_page, page):
    levels, pictures = [], []
    for scheme in ("light", "dark"):
        tab = open_page(page, scheme=scheme)
        tab.wait_ready()
        assert tab.evaluate("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
        levels.append(sum(screen_of(tab).getpixel((3, 3))) / 3)
        pictures.append(tab.evaluate("return document.querySelector('#overview image').href.baseVal"))
    assert levels[0] > 230
    assert levels[1] < 40
    assert pictures[0] != pictures[1]  # what lies between the tiles


def test_a_narrow_window_holds_all_of_it(open_page, page):
    tab = open_page(page, viewport=PHONE)
    tab.wait_ready()
    width = tab.evaluate("return innerWidth")
    assert width < DESKTOP["width"] / 2
    assert tab.evaluate("return document.documentElement.scrollWidth") <= width
    sides = [
        (left, left + wide) for left, _, wide, _ in map(tab.box, ("#title", "#photo", "#controls", "#stage", "#facts"))
    ]
    assert min(left for left, _ in sides) >= 0
    assert max(right for _, right in sides) <= width


def test_a_tap_opens_a_channel_and_reads_a_value(open_page, engine, page):
    if not engine.has_touch:
        pytest.skip(f"what drives {engine.name} has no fingers")
    tab = open_page(page, touch=True)
    tab.wait_ready()
    tab.tap(*mosaic_point(tab, VALUES.shape, 7, 5, 20))
    wait_title(tab, "block1_conv1 - channel 7, after ReLU")
    tab.wait(
        "performance.now() - arguments[0] > 600", tab.evaluate("return performance.now()")
    )  # two taps, no double one
    tab.tap(*panel_point(tab, VALUES.shape, 3, 17))
    tab.wait("document.getElementById('tooltip').textContent.includes('row 3, column 17\\n')")
    assert_told(told(tab.text("#tooltip")), VALUES, (7, 3, 17))


def test_on_paper(open_page, engine, page):
    if not engine.has_paper:
        pytest.skip("WebKitGTK's driver does not print")
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed: make browsers")
    tab = open_page(page)
    tab.wait_ready()
    printed = pypdf.PdfReader(io.BytesIO(tab.paper()))
    text = "\n".join(sheet.extract_text() for sheet in printed.pages)
    assert len(printed.pages) <= 2
    assert "block1_conv1, after ReLU" in text
    assert "by number" not in text  # no choosers
    assert [line.strip() for line in text.splitlines() if line.strip().isdigit()] == [
        str(number) for number in range(9)
    ]
    pictures = [image.image.size for sheet in printed.pages for image in sheet.images]
    assert pictures.count((32, 24)) >= 9
