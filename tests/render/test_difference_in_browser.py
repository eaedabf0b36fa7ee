"""The page of a difference in a real browser: headless Chromium, driven by Playwright."""

import re

import numpy as np
import pytest

from fmedge.data.page_options import PageOptions
from fmedge.render.difference_page import render_difference
from fmedge.render.page import render_page
from support.keys import assert_address, press, settle
from support.page_samples import channel_errors, make_maps, random_maps
from support.viewports import DESKTOP

pytestmark = pytest.mark.browser

SHAPE = (6, 24, 32)
FIGURES = {
    "snr_db": [np.inf, np.inf, 12.5, np.inf, 70, 1],
    "bias": [0, 0, 0.5, 0, 1e-5, 3],
    "max_error": [0, 0, 0.5, 0, 0.01, 5],
    "saturated": [0, 0, 0.25, 0, 0, 0.001],
    "scale": 0.5,
    "zero_point": 3,
    "lowest": -1,
    "highest": 1,
}
WORST_FIRST = [5, 2, 4, 0, 1, 3]


@pytest.fixture
def sides():
    """A and B: equal but for channels 2, 4 and 5."""
    first, second = random_maps(*SHAPE), random_maps(*SHAPE)
    second[:5] = first[:5]
    second[2] += 0.5
    second[4, 3, 3] += 0.01
    second[5] = first[5] + 0.1 * np.roll(first[5], 1) + 3
    return first, second


@pytest.fixture
def show(open_file, sides):
    """Open the page of A and B."""

    def open_page(address="", values="12bit", viewport=DESKTOP, **options):
        maps = tuple(map(make_maps, sides))
        content = render_difference([maps], [channel_errors(photos=3, **FIGURES)], options=PageOptions(values=values))
        return open_file(content, address, viewport=viewport, **options)

    return open_page


def point_at_tile(page, place, row, column):
    """Move to a value of the mosaic."""
    x, y = page.evaluate(
        """([place, row, column]) => {
          const { box, left, top, scale } = overview.frame();
          const [x, y] = overview.grid.corner(place);
          return [box.left + (x + column + 0.5 - left) * scale, box.top + (y + row + 0.5 - top) * scale];
        }""",
        [place, row, column],
    )
    page.mouse.move(x, y)
    page.wait_for_selector("#tooltip", state="visible")


def point_at_panel(page, number, row, column):
    """Move to a value of an open channel, which covers the photo."""
    x, y = page.evaluate(
        """([number, row, column]) => {
          const box = detail.box(number);
          const { rows, columns } = layerNow();
          return [box.left + (column + 0.5) / columns * box.width, box.top + (row + 0.5) / rows * box.height];
        }""",
        [number, row, column],
    )
    page.mouse.move(0, 0)
    page.wait_for_selector("#tooltip", state="hidden")
    page.mouse.move(x, y)
    page.wait_for_selector("#tooltip", state="visible")


def sides_told(text):
    """What a text says of A, of B and of B minus A: the value, and how far it may be off."""
    text = text.replace("\u2212", "-")
    found = re.search(
        r"\nA (\S+)(?: ±(\S+))?\nB ([^\s,]+)(?: ±([^\s,]+))?(?:, code \S+)?\nB - A (\S+)(?: ±(\S+))?\n", text
    )
    assert found, text
    numbers = [float(each or 0) for each in found.groups()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def assert_told(text, sides, channel, row, column):
    assert f"channel {channel}\nrow {row}, column {column}\n" in text
    first, second = (float(side[channel, row, column]) for side in sides)
    for (told, tolerance), value in zip(sides_told(text), (first, second, second - first), strict=True):
        assert told == pytest.approx(value, abs=tolerance * 1.03 + 2e-5)


def test_every_view_tells_both_sides_and_the_error(show, sides):
    page = show()
    for view in ("error", "a", "b"):
        assert page.evaluate("state.view") == view
        for place in (0, 1, 2):
            point_at_tile(page, place, 3, 3)
            assert_told(page.inner_text("#tooltip"), sides, WORST_FIRST[place], 3, 3)
        page.mouse.move(0, 0)
        press(page, "r")
    point_at_tile(page, 1, 5, 5)
    code = round(float(sides[1][2, 5, 5]) / 0.5 + 3)
    assert f", code {code}\n" in page.inner_text("#tooltip").replace("\u2212", "-")
    (_, off), (_, off_b), (_, off_error) = sides_told(page.inner_text("#tooltip"))
    assert 0 < off < np.ptp(sides[0][2]) / 4000
    assert off_b == pytest.approx(off + off_error, rel=0.1)
    page.mouse.down()
    page.mouse.up()
    settle(page)
    assert "12.5 dB" in page.inner_text("#numbers")
    for number in range(3):
        point_at_panel(page, number, 7, 9)
        assert_told(page.inner_text("#tooltip"), sides, 2, 7, 9)
    page.mouse.move(0, 0)
    press(page, "v", "ArrowRight")
    assert_told(page.text_content("#spoken"), sides, 2, 5, 6)


def test_floats_have_no_tolerance(show):
    page = show(values="float32")
    point_at_tile(page, 0, 3, 3)
    assert "±" not in page.inner_text("#tooltip")


def test_both_sides_have_one_scale(show, sides):
    first, second = sides
    low, high = min(first[5].min(), second[5].min()), max(first[5].max(), second[5].max())
    page = show("#channel=5&view=a&colours=grey")
    ranges = page.evaluate("detail.panels.filter(({ range }) => range).map(({ range }) => range)")
    one, error, other = ranges
    assert one == other == pytest.approx([low, high], abs=1e-3)
    most = np.abs(second[5] - first[5]).max()
    assert error == pytest.approx([-most, most], abs=1e-3)
    bars = page.evaluate("detail.plot._fullData.filter((each) => each.z).map(({ zmin, zmax }) => [zmin, zmax])")
    assert bars == ranges
    press(page, "Escape")
    assert page.inner_text("#legend-of") == "value of each channel, in A and B"
    assert page.inner_text("#lowest") == "smallest"
    low_in_a, high_in_a = levels_of_tile(page, 2)
    press(page, "r")
    assert page.evaluate("state.view") == "b"
    low_in_b, high_in_b = levels_of_tile(page, 2)  # B is A and a little more: brighter, on the scale of both
    assert low_in_a == 0 < low_in_b
    assert high_in_a < high_in_b == 252
    press(page, "r")
    assert page.evaluate("[state.view, state.colours]") == ["error", "grey"]
    assert page.inner_text("#lowest") == "\u2212largest"


def levels_of_tile(page, channel):
    """The darkest and the brightest of a channel's colours in the mosaic, of 0 to 252."""
    return page.evaluate(
        """(channel) => {
          const { grid, bitmap, order } = overview;
          const [left, top] = grid.corner(order.indexOf(channel));
          const found = [];
          for (let row = 0; row < grid.rows; row += 1) {
            const start = (bitmap.height - 1 - top - row) * bitmap.stride + left;
            found.push(...bitmap.pixels.subarray(start, start + grid.columns));
          }
          return [Math.min(...found), Math.max(...found)];
        }""",
        channel,
    )


def test_tiles_tell_the_number_and_the_ratio(show):
    page = show()
    labels = page.locator("#labels span").all_inner_texts()
    told = ("1.0 dB", "12.5 dB", "70.0 dB", "equal", "equal", "equal")
    assert labels == [f"{channel} \u00b7 {ratio}" for channel, ratio in zip(WORST_FIRST, told, strict=True)]
    page.emulate_media(media="print")
    page.wait_for_selector("#paper figure")
    assert [text.strip() for text in page.locator("#paper figure").all_inner_texts()] == labels
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 200, "height": 500})
    page.locator("#labels span", has_text=re.compile(r"^5$")).wait_for()
    fits = """() => [...document.querySelectorAll('#labels span')].every((label) =>
      label.offsetWidth <= overview.grid.pitchX * overview.frame().scale)"""
    assert page.evaluate(fits)


def rows(page):
    """The table: numbers of channels in order, and the cells of the first."""
    lines = page.locator("#channel-rows tr")
    return [int(each) for each in page.locator("#channel-rows th").all_inner_texts()], lines.first.inner_text().split()


def test_the_table_sorts_opens_channels_and_is_saved(show, tmp_path):
    page = show()
    assert page.locator("#channel-rows tr").count() == 0  # filled when it is asked for
    page.locator("#channel-table summary").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#channel-rows tr")
    assert page.inner_text("#channel-caption") == "block1_conv1: B against A, channel by channel, over 3 photos"
    assert rows(page) == (WORST_FIRST, ["5", "1.0", "3", "5", "0.1", "%", "0.5", "3"])
    head = page.locator("#channel-heads th")
    assert head.nth(1).get_attribute("aria-sort") == "ascending"
    saturated = page.get_by_role("button", name="saturated")
    saturated.focus()
    for direction, first in (("descending", 2), ("ascending", 0)):
        page.keyboard.press("Enter")
        assert head.nth(4).get_attribute("aria-sort") == direction
        assert head.nth(1).get_attribute("aria-sort") is None
        assert rows(page)[0][0] == first
    assert page.evaluate("document.activeElement.textContent") == "saturated"
    page.keyboard.press("r")  # the figure's keys are not meant in the table
    assert page.evaluate("state.view") == "error"
    with page.expect_download() as download:
        page.click("#save-csv")
    assert download.value.suggested_filename == "photo.png_block1_conv1.channels.csv"
    download.value.save_as(tmp_path / "saved.csv")
    saved = [line.split(",") for line in (tmp_path / "saved.csv").read_text().splitlines()]
    assert saved[0] == ["channel", "snr_db", "bias", "max_error", "saturated", "scale", "zero_point"]
    assert [int(line[0]) for line in saved[1:]] == rows(page)[0]
    found = np.array(saved[1:], float)
    for place, name in enumerate(saved[0][1:], 1):
        np.testing.assert_array_equal(
            np.float32(found[:, place]), np.float32(np.broadcast_to(FIGURES[name], 6))[found[:, 0].astype(int)], name
        )
    page.locator("#channel-rows tr[data-channel='4'] td").first.click()
    settle(page)
    assert_address(page, "#channel=4")
    assert page.locator("#channel-rows [aria-current]").get_attribute("data-channel") == "4"
    page.get_by_role("button", name="Open channel 2").press("Enter")
    settle(page)
    assert_address(page, "#channel=2")


def test_other_pages_have_no_table(open_file):
    page = open_file(render_page(make_maps(random_maps(2, 3, 4))))
    assert page.locator("#channel-table").is_hidden()


def test_values_of_both_sides_are_drawn_when_asked_for(show, sides):
    first, second = sides
    second[2] = np.minimum(second[2], 1)
    page = show("#channel=2", values="float32")
    assert page.locator("#pairs *").count() == 0
    page.click("#scatter summary")
    page.wait_for_selector("#pairs .heatmaplayer image")
    assert page.inner_text("#pairs-caption").startswith("block1_conv1, channel 2: 768 pairs of values.")
    drawn = page.evaluate(
        """(() => {
          const [map] = element('pairs')._fullData;
          const [line, ...bounds] = element('pairs')._fullLayout.shapes;
          const ends = [line.x0, line.y0, line.x1, line.y1];
          return [map.text, map.x0, map.dx, map.y0, map.dy, ends, bounds.map(({ y0 }) => y0)];
        })()"""
    )
    counts = np.array(drawn[0])
    x0, dx, y0, dy = drawn[1:5]
    assert counts.sum() == first[2].size
    assert dy == 0.5  # a row for every code
    expected, _, _ = np.histogram2d(
        second[2].ravel(),
        first[2].ravel(),
        [y0 + dy * (np.arange(counts.shape[0] + 1) - 0.5), x0 + dx * (np.arange(counts.shape[1] + 1) - 0.5)],
    )
    assert np.abs(counts - expected).sum() <= 4  # of values at an edge
    cut_off = round((1 - y0) / dy)
    assert counts[cut_off].sum() == np.count_nonzero(second[2] >= 0.75)
    line, bounds = drawn[5:]
    assert line[:2] == line[:1] * 2
    assert line[2:] == line[2:3] * 2
    assert bounds == [-1, 1]
    press(page, "Escape")
    assert page.inner_text("#pairs-caption").startswith("block1_conv1, all channels: 4,608 pairs of values.")
