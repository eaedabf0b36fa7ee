"""Pages in a real browser: headless Chromium, driven by Playwright."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fmedge.data.page_options import PageOptions
from fmedge.model.first_kernel import FirstKernel
from fmedge.render import plotly_js
from fmedge.render.page import render_page
from support.keys import assert_address, press, settle
from support.page_samples import HOSTILE, UNTRAINED, make_maps, poisoned_maps, random_maps
from support.viewports import DESKTOP, PHONE

pytestmark = pytest.mark.browser


@pytest.fixture
def show(open_file):
    """Open maps in a page, or a page that was made before."""

    def open_page(maps, channel=None, viewport=DESKTOP, page_options=None, address="", kernels=None, **options):
        content = (
            maps
            if isinstance(maps, bytes)
            else render_page(maps, channel=channel, options=page_options, kernels=kernels)
        )
        return open_file(content, address, viewport=viewport, **options)

    return open_page


class Mosaic:
    """Where a value of the mosaic is on the screen, reckoned from the picture's place."""

    def __init__(self, page, shape):
        self.page = page
        self.channels, self.rows, self.columns = shape
        self.across = math.ceil(math.sqrt(self.channels))
        self.gap = max(1, round(self.columns / 40))

    def box(self):
        return self.page.locator("#overview image").bounding_box()

    def point(self, place, row, column):
        down = math.ceil(self.channels / self.across)
        width = self.across * (self.columns + self.gap) - self.gap
        height = down * (self.rows + self.gap) - self.gap
        x = place % self.across * (self.columns + self.gap) + column + 0.5
        y = place // self.across * (self.rows + self.gap) + row + 0.5
        box = self.box()
        return box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]


class Panel:
    """Where a value of an open channel is on the screen: the maps cover the photo."""

    def __init__(self, page, shape, number=0):
        self.page, self.number = page, number
        _, self.rows, self.columns = shape

    def box(self):
        name = f"x{self.number + 1}y{self.number + 1}" if self.number else "xy"
        return self.page.locator(f"#panels .nsewdrag[data-subplot={name}]").bounding_box()

    def point(self, channel, row, column):
        box = self.box()
        return (
            box["x"] + (column + 0.5) / self.columns * box["width"],
            box["y"] + (row + 0.5) / self.rows * box["height"],
        )


def read_value(page, point):
    """What the tooltip says at a point: channel, row, column, value; and all of its text."""
    page.mouse.move(0, 0)
    page.wait_for_selector("#tooltip", state="hidden")
    page.mouse.move(*point)
    page.wait_for_selector("#tooltip", state="visible")
    text = page.inner_text("#tooltip").replace("\u2212", "-")
    found = re.search(r"channel (\d+)\nrow (\d+), column (\d+)\nvalue (\S+)\n", text)
    assert found, text
    return (*map(int, found.groups()[:3]), float(found[4].replace("\u221e", "inf"))), text


def half_step(values, channel):
    return float(np.ptp(values[channel])) / 4090 / 2


def assert_hover_agrees(picture, values, places, tolerance=half_step):
    for channel, row, column in places:
        (*place, value), text = read_value(picture.page, picture.point(channel, row, column))
        assert place == [channel, row, column], text
        expected = float(values[channel, row, column])
        assert value == pytest.approx(expected, abs=tolerance(values, channel) * 1.001 + 1e-6, rel=1e-6)


SHAPES = [(5, 9, 14), (10, 24, 17), (1, 5, 7), (12, 320, 331)]  # the last one has several chunks


@pytest.mark.parametrize("shape", SHAPES)
def test_hover_tells_the_arrays_value(show, shape):
    values = random_maps(*shape)
    channels, rows, columns = shape
    places = {(0, 0, 0), (channels - 1, rows - 1, columns - 1), (channels // 2, 1, columns - 2), (0, rows - 1, 0)}
    page = show(make_maps(values))
    assert_hover_agrees(Mosaic(page, shape), values, places)
    assert "12 bits: \u00b1" in page.inner_text("#tooltip")


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_hover_tells_the_floats(show, kind):
    values = random_maps(5, 9, 14)
    page = show(make_maps(values), page_options=PageOptions(values=kind))
    expected = values.astype(np.float16) if kind == "float16" else values
    assert_hover_agrees(Mosaic(page, values.shape), expected, [(4, 8, 13), (2, 0, 1)], lambda *_: 1e-6)
    assert page.inner_text("#tooltip").endswith(kind)


def test_hover_tells_the_arrays_value_after_wheel_and_drag(show):
    values = random_maps(10, 24, 17)
    page = show(make_maps(values))
    mosaic = Mosaic(page, values.shape)
    before = mosaic.box()["width"]
    page.mouse.move(*mosaic.point(5, 12, 8))
    for _ in range(8):
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(80)
    x, y = mosaic.point(5, 12, 8)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert mosaic.box()["width"] > 1.5 * before
    assert_hover_agrees(mosaic, values, [(5, 12, 8), (5, 10, 7), (5, 14, 9)])
    assert page.get_attribute("body", "data-view") == "overview"  # a drag is no click


def test_no_value_between_the_tiles_or_beyond_the_last(show):
    page = show(make_maps(random_maps(3, 20, 20)))
    mosaic = Mosaic(page, (3, 20, 20))
    for place in [(0, 5, 20), (0, 20, 5), (3, 5, 5)]:
        page.mouse.move(*mosaic.point(*place))
        page.wait_for_timeout(50)
        assert page.locator("#tooltip").is_hidden()


def colour(page, tmp_path, point):
    path = tmp_path / "screen.png"
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    with Image.open(path) as screen:
        return screen.convert("RGB").getpixel((int(point[0]), int(point[1])))


def brightness(page, tmp_path, point):
    return sum(colour(page, tmp_path, point)) / 3


def test_the_mosaic_is_the_right_way_up(show, tmp_path):
    values = np.zeros((4, 20, 20))
    values[:, 0, 0] = 1  # scales every channel alike
    values[1, :10, :] = 1
    values[2, :, 10:] = 1
    page = show(make_maps(values))
    mosaic = Mosaic(page, values.shape)
    seen = {
        (channel, row, column): brightness(page, tmp_path, mosaic.point(channel, row, column))
        for channel, row, column in [(1, 4, 14), (1, 15, 14), (2, 15, 5), (2, 15, 15), (3, 5, 5), (0, 15, 15)]
    }
    assert {place for place, level in seen.items() if level > 200} == {(1, 4, 14), (2, 15, 15)}
    assert {place for place, level in seen.items() if level < 50} == {(1, 15, 14), (2, 15, 5), (3, 5, 5), (0, 15, 15)}


def test_order_scale_and_colours(show, tmp_path):
    values = np.zeros((4, 6, 8), np.float32)
    values[:, :, 4:] = np.reshape([3, 9, 1, 6], (4, 1, 1))
    page = show(make_maps(values))
    mosaic = Mosaic(page, values.shape)
    assert brightness(page, tmp_path, mosaic.point(2, 3, 6)) > 250  # each its own scale
    page.select_option("#order", "max")
    page.select_option("#scale", "shared")
    settle(page)
    assert [read_value(page, mosaic.point(place, 1, 1))[0][0] for place in range(4)] == [1, 3, 0, 2]
    levels = [brightness(page, tmp_path, mosaic.point(place, 3, 6)) for place in range(4)]
    assert levels == pytest.approx([255, 170, 85, 28], abs=3)
    page.select_option("#colours", "viridis")
    settle(page)
    assert colour(page, tmp_path, mosaic.point(0, 3, 6)) == pytest.approx((253, 231, 37), abs=4)
    assert colour(page, tmp_path, mosaic.point(0, 3, 1)) == pytest.approx((68, 1, 84), abs=4)
    assert_address(page, "#order=max&scale=shared&colours=viridis")


def test_around_zero_is_white_at_zero(show, tmp_path):
    values = np.zeros((1, 4, 6), np.float32)
    values[0, :, :2], values[0, :, 4:] = -8, 2
    page = show(make_maps(values, activation="none"), address="#colours=diverging")
    mosaic = Mosaic(page, values.shape)
    negative, zero, positive = (colour(page, tmp_path, mosaic.point(0, 1, column)) for column in (1, 3, 5))
    assert min(zero) > 240
    assert negative[2] > negative[0] + 40
    assert positive[0] > positive[2]


def test_channel_numbers_are_on_their_tiles_and_come_with_the_zoom(show):
    values = random_maps(625, 12, 14)
    page = show(make_maps(values))
    mosaic = Mosaic(page, values.shape)
    assert page.locator("#labels span").count() == 0  # tiles of 33 pixels
    page.locator("#overview").focus()
    page.keyboard.press("+")
    page.wait_for_selector("#labels span")
    label = page.locator("#labels span", has_text=re.compile(r"^312$")).bounding_box()
    x, y = mosaic.point(312, 0, 0)
    assert abs(label["x"] - x) < 10
    assert abs(label["y"] - y) < 10


def test_dead_channels_are_marked(show, tmp_path):
    values = np.maximum(random_maps(9, 24, 24), 0)
    values[4] = 0
    page = show(make_maps(values))
    assert page.locator("#labels .dead").all_inner_texts() == ["4 dead"]
    assert "1: 4" in page.inner_text("#numbers")
    mosaic = Mosaic(page, values.shape)
    levels = {round(brightness(page, tmp_path, mosaic.point(4, 12, column))) for column in range(8, 20)}
    assert len(levels) > 1  # hatched


def test_keys_zoom_move_and_go_home(show):
    page = show(make_maps(random_maps(9, 20, 20)))
    mosaic = Mosaic(page, (9, 20, 20))
    home = mosaic.box()
    press(page, "+")
    page.wait_for_timeout(200)
    larger = mosaic.box()
    assert larger["width"] == pytest.approx(1.5 * home["width"], rel=0.02)
    press(page, "Shift+ArrowRight", "Shift+ArrowDown")
    page.wait_for_timeout(200)
    assert mosaic.box()["x"] < larger["x"] - 20
    assert mosaic.box()["y"] < larger["y"] - 20
    press(page, "0")
    page.wait_for_timeout(200)
    assert mosaic.box() == pytest.approx(home, abs=1)


def test_keys_walk_open_and_go_back(show):
    page = show(make_maps(random_maps(9, 20, 20)))
    press(page, "ArrowRight", "ArrowRight", "ArrowDown")  # the first arrow shows where one is
    assert page.locator("#labels .cursor").count() == 1
    assert page.inner_text("#spoken") == "channel 4"
    press(page, "Enter")
    assert_address(page, "#channel=4")
    assert page.inner_text("h1") == "block1_conv1 - channel 4, after ReLU"
    press(page, "ArrowRight")
    assert_address(page, "#channel=5")
    press(page, "ArrowLeft", "ArrowLeft")
    assert_address(page, "#channel=3")
    press(page, "Escape")
    assert page.locator("#overview").is_visible()
    assert page.locator("#panels").is_hidden()
    assert_address(page, "")


def test_a_click_opens_the_channel_and_marks_the_place(show):
    values = random_maps(9, 24, 32)
    page = show(make_maps(values))
    page.mouse.click(*Mosaic(page, values.shape).point(7, 5, 20))
    settle(page)
    assert_address(page, "#channel=7&at=5%2C20")
    panel = Panel(page, values.shape)
    assert_hover_agrees(panel, values, [(7, 0, 0), (7, 23, 31), (7, 3, 17)])
    assert page.locator("#panels .colorbar, #panels .infolayer .cbbg").count() > 0
    assert page.locator("#panels .heatmaplayer image").count() == 1
    box = panel.box()
    assert box["width"] / 32 == pytest.approx(box["height"] / 24, rel=0.02)
    marked = page.locator("#photo-marks .marked").bounding_box()
    photo = page.locator("#photo").bounding_box()
    assert marked["x"] + marked["width"] / 2 == pytest.approx(photo["x"] + 20.5 / 32 * photo["width"], abs=2)
    page.go_back()
    settle(page)
    assert page.locator("#overview").is_visible()


def test_hover_draws_the_receptive_field_on_the_photo(show):
    pixels = np.zeros((64, 64, 3), np.uint8)
    values = random_maps(4, 16, 16)
    page = show(make_maps(values, layer="block3_conv1", pixels=pixels), address="#channel=1")
    page.mouse.move(*Panel(page, values.shape).point(1, 8, 4))
    page.wait_for_selector("#photo-marks .pointed")
    left, top, width, height = page.locator("#photo-marks .pointed").evaluate(
        "(mark) => { const [box, outer] = [mark, mark.parentElement].map((each) => each.getBoundingClientRect());"
        "return [box.left + 2 - outer.left, box.top + 2 - outer.top, box.width - 4, box.height - 4]"
        ".map((value) => value / outer.width * 64); }"
    )
    assert (width, height) == pytest.approx((24, 24), abs=0.5)  # block3_conv1 sees 24 x 24 pixels, one value every 4
    assert (left, top) == pytest.approx((4.5 * 4 - 12, 8.5 * 4 - 12), abs=0.5)
    assert page.locator("#marks .pane .pointed").count() == 2  # the value itself, and the field on the photo beside


def test_raw_values_and_relu(show, tmp_path):
    values = random_maps(9, 24, 32)
    page = show(make_maps(values, activation="none"), page_options=PageOptions(both=True))
    after = np.maximum(values, 0)
    mosaic = Mosaic(page, values.shape)
    places = [(4, 1, 1), (8, 23, 31), (0, 3, 7)]
    assert_hover_agrees(mosaic, after, places, lambda _, channel: half_step(values, channel))
    press(page, "r")
    assert_address(page, "#view=raw")
    assert page.inner_text("h1") == "block1_conv1, before ReLU"
    assert_hover_agrees(mosaic, values, places)
    page.click("#views button[data-view=relu]")
    settle(page)
    negative = tuple(int(index) for index in np.argwhere(values[4] < 0)[0])
    _, text = read_value(page, mosaic.point(4, *negative))
    assert "before ReLU -" in text
    page.locator("#overview").focus()
    press(page, "ArrowRight", "Enter")
    share = np.mean(values[0] < 0)
    assert f"Removed by ReLU\n{100 * share:.1f} %" in page.inner_text("#numbers")
    assert f"Zeros\n{100 * share:.1f} %" in page.inner_text("#numbers")
    panel = Panel(page, values.shape)
    assert_hover_agrees(panel, after, [(0, 2, 2)], lambda _, channel: half_step(values, channel))
    press(page, "r")
    assert_hover_agrees(panel, values, [(0, 2, 2)])
    assert page.locator("#bars .below").count() > 5
    assert page.locator("#bars .zero").count() == 1


def test_statistics_of_a_channel(show):
    values = random_maps(3, 24, 32)
    page = show(make_maps(values, activation="none"), address="#channel=2")
    numbers = dict(zip(*[iter(page.inner_text("#numbers").replace("\u2212", "-").splitlines())] * 2, strict=True))
    for name, expected in [
        ("Minimum", values[2].min()),
        ("Maximum", values[2].max()),
        ("Mean", values[2].mean()),
        ("Standard deviation", values[2].std()),
    ]:
        assert float(numbers[name]) == pytest.approx(float(expected), rel=1e-4)
    counts = [int(text.split(": ")[1]) for text in page.locator("#bars rect title").all_text_contents()]
    assert sum(counts) == 24 * 32


def test_pins_stand_beside_with_one_zoom(show):
    values = random_maps(9, 24, 32)
    page = show(make_maps(values), address="#channel=5&pins=2,7")
    panels = [Panel(page, values.shape, number) for number in range(3)]
    for panel, channel in zip(panels, (5, 2, 7), strict=True):
        assert_hover_agrees(panel, values, [(channel, 3, 30), (channel, 20, 2)])
    page.mouse.move(*panels[1].point(2, 12, 16))
    for _ in range(4):
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(100)
    page.wait_for_timeout(200)
    ranges = page.evaluate(
        "(() => { const l = document.getElementById('panels')._fullLayout;"
        "return [l.xaxis, l.xaxis2, l.xaxis3, l.xaxis4].map(({ range }) => [...range]); })()"
    )
    assert ranges[0] == ranges[1] == ranges[2] == ranges[3]
    assert ranges[0][1] - ranges[0][0] < 30
    found = [read_value(page, (panel.box()["x"] + 40, panel.box()["y"] + 40))[0] for panel in panels]
    assert {place[1:3] for place in found} == {found[0][1:3]}
    press(page, "ArrowRight")  # the zoom stays
    assert page.evaluate("document.getElementById('panels')._fullLayout.xaxis.range") == ranges[0]
    press(page, "p")
    assert_address(page, re.compile(r"#channel=6&zoom=[\d.%C]+&pins=2%2C7%2C6"))
    press(page, "p")
    assert_address(page, re.compile(r"#channel=6&zoom=[\d.%C]+&pins=2%2C7"))


def test_jump_to_a_number(show):
    page = show(make_maps(random_maps(9, 24, 32)))
    page.fill("#jump", "8")
    page.keyboard.press("Enter")
    settle(page)
    assert page.inner_text("h1") == "block1_conv1 - channel 8, after ReLU"
    page.fill("#jump", "9")
    page.keyboard.press("Tab")
    settle(page)
    assert page.evaluate("document.getElementById('jump').validationMessage") == "0 to 8"
    assert_address(page, "#channel=8")


def test_the_address_restores_everything(show):
    address = "#channel=5&view=raw&order=mean&scale=shared&colours=viridis&opacity=40&at=7%2C9&pins=3"
    page = show(
        make_maps(random_maps(9, 24, 32), activation="none"), page_options=PageOptions(both=True), address=address
    )
    assert_address(page, address)
    assert page.inner_text("h1") == "block1_conv1 - channel 5, before ReLU"
    assert page.input_value("#order") == "mean"
    assert page.input_value("#opacity") == "40"
    assert page.locator("#photo-marks .marked").count() == 1
    page.evaluate("location.hash = '#channel=1'")
    settle(page)
    assert page.inner_text("h1") == "block1_conv1 - channel 1, after ReLU"


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "address",
    [
        "#channel=99",
        "#channel=-1",
        "#channel=x&view=up&order=__proto__",
        "#pins=1,99,a:b&at=1",
        "#layer=%3Cb%3E&opacity=900",
    ],
)
def test_addresses_that_cannot_be_meant(show, address):
    page = show(make_maps(random_maps(9, 4, 4)), address=address)
    assert page.get_attribute("body", "data-view") == "overview"


def test_the_map_lies_over_the_photo(show, tmp_path):
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:, :, 1] = 255
    page = show(make_maps(np.zeros((1, 24, 32)), pixels=pixels), address="#channel=0&opacity=50")
    point = Panel(page, (1, 24, 32)).point(0, 12, 16)
    assert colour(page, tmp_path, point) == pytest.approx((0, 128, 0), abs=6)
    page.locator("#opacity").fill("100")
    settle(page)
    assert colour(page, tmp_path, point) == pytest.approx((0, 0, 0), abs=6)


def test_several_layers_with_one_place(show):
    pixels = np.zeros((32, 32, 3), np.uint8)
    shallow, deep = random_maps(9, 32, 32), random_maps(12, 16, 16)
    page = show(
        [make_maps(shallow, pixels=pixels), make_maps(deep, layer="block2_conv1", pixels=pixels)],
        address="#channel=3&at=20%2C10",
    )
    assert page.locator("#strip button").all_inner_texts() == ["block1_conv1", "block2_conv1"]
    small = page.locator("#photo-marks .marked").bounding_box()
    press(page, "ArrowDown")
    assert_address(page, "#layer=block2_conv1&channel=3&at=20%2C10")
    large = page.locator("#photo-marks .marked").bounding_box()
    assert large["width"] > 2 * small["width"]
    assert large["x"] + large["width"] / 2 == pytest.approx(small["x"] + small["width"] / 2, abs=8)
    assert_hover_agrees(Panel(page, deep.shape), deep, [(3, 15, 15), (3, 2, 9)])
    page.click("#strip button:first-child")
    settle(page)
    assert_hover_agrees(Panel(page, shallow.shape), shallow, [(3, 31, 31)])
    press(page, "p", "ArrowDown")  # a pin of another layer lies beside, on the same pixels of the photo
    assert_hover_agrees(Panel(page, deep.shape, 0), deep, [(3, 8, 8)])
    assert_hover_agrees(Panel(page, shallow.shape, 1), shallow, [(3, 8, 8)])
    press(page, "Escape", "ArrowRight")
    assert_hover_agrees(Mosaic(page, deep.shape), deep, [(11, 3, 3)])


def test_a_kernel_is_shown(show):
    weights = np.arange(4 * 27, dtype=np.float32).reshape(4, 3, 3, 3) / 100
    kernels = {"block1_conv1": FirstKernel(weights, np.zeros(4, np.float32))}
    page = show(make_maps(random_maps(4, 24, 32)), kernels=kernels, address="#channel=2")
    red, _, blue = (table.locator("td").all_inner_texts() for table in page.locator("#weights table").all())
    assert red[:2] == [".54", ".57"]
    assert blue[8] == ".80"


def test_channel_page(show):
    values = random_maps(7, 30, 22)
    page = show(make_maps(values, weights=UNTRAINED), channel=6, viewport={"width": 900, "height": 600})
    assert page.inner_text("h1") == "block1_conv1 - channel 6, after ReLU"
    assert page.inner_text("#note") == "untrained weights: random, not learned"
    for id_ in ("all", "next", "jump", "pin", "order"):
        assert page.locator(f"#{id_}").is_hidden()
    heatmap = Panel(page, values.shape)
    (*place, value), _ = read_value(page, heatmap.point(6, 3, 17))
    assert place == [6, 3, 17]
    assert value == pytest.approx(float(values[6, 3, 17]), abs=half_step(values, 6) * 1.001)
    press(page, "Escape", "ArrowRight", "ArrowDown", "r", "p")
    assert page.inner_text("h1") == "block1_conv1 - channel 6, after ReLU"


@pytest.mark.parametrize("channel", [None, 2])
@pytest.mark.parametrize("address", ["", "#channel=2&at=3,3"])
def test_a_phone_shows_all_of_it(show, channel, address):
    name = "a rather long file name without_a_place_to_break_" + 60 * "x" + ".png"
    maps = make_maps(random_maps(64, 28, 28), weights=UNTRAINED, image_name=name, activation="none")
    page = show(maps, channel, PHONE, PageOptions(both=True), address, is_mobile=True, has_touch=True)
    sides = page.evaluate(
        "['h1', '#subtitle', '#note', '#photo', '#card', '#facts', '#stage', '#help', '.plot:not([hidden]) .main-svg', "
        "'.plot:not([hidden]) .modebar', '#controls', "
        "...[...document.querySelector('#controls').children].filter((each) => !each.hidden)]"
        ".map((name) => (name.getBoundingClientRect ? name : document.querySelector(name)).getBoundingClientRect())"
        ".flatMap((box) => [box.left, box.right])"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert min(sides) >= 0
    assert max(sides) <= PHONE["width"]


def test_a_turned_phone(show):
    page = show(make_maps(random_maps(9, 24, 32)), None, PHONE, address="#channel=2")
    page.set_viewport_size({"width": 844, "height": 390})
    page.wait_for_timeout(200)
    settle(page)
    stage = page.locator("#stage").bounding_box()
    assert page.locator("#panels .main-svg").first.bounding_box()["width"] == pytest.approx(stage["width"], abs=4)


def test_dark_follows_the_system_while_open(show):
    page = show(make_maps(random_maps(5, 9, 9)))
    sources = []
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)
        settle(page)
        sources.append(page.locator("#overview image").evaluate("(image) => image.href.baseVal"))
    assert sources[0] == sources[2] != sources[1]


NAMES = [
    *(name.replace("\x00", "") for name in HOSTILE),
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "javascript:alert(1)",
    "' onmouseover='alert(1)", '" onfocus="alert(1)" autofocus="', "`${alert(1)}`", "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>", "</textarea><script>", "<iframe srcdoc='<script>alert(1)</script>'>",
    "<math><mtext></table><mglyph><style><img src=x>", "$\\href{javascript:alert(1)}{x}$", "%3Cscript%3E",
    "\u202egnp.exe", "<a href=//example.org>", "{{photo}}", "__proto__", "constructor",
]  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES[:3], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[3:])])
def test_names_from_outside_are_shown_as_they_are(show, name):
    """One name in six places: layer, weights, recipe, image, resizing, engine and its provider."""
    layers = [poisoned_maps(name), replace(poisoned_maps(name), layer=name + "2")]
    page = show(layers)
    scripts = page.locator("script").count()
    assert name in page.text_content("h1")
    assert name in page.text_content("#subtitle")
    press(page, "ArrowRight", "Enter", "p", "ArrowDown", "r")
    page.mouse.move(*Panel(page, (4, 3, 3)).point(0, 1, 1))
    settle(page)
    assert page.locator("script").count() == scripts
    assert page.locator("header *, dl * > *").count() == 3  # h1 and two paragraphs, nothing in them
    again = page.evaluate("location.hash")
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    assert_address(page, again)


def test_names_add_no_scripts(show):
    plain = show(make_maps(random_maps(4, 3, 3))).locator("script").count()
    assert show(poisoned_maps("".join(NAMES))).locator("script").count() == plain


ODD = {"one value": (1, 1, 1), "1x1": (300, 1, 1), "a row": (3, 1, 40), "a column": (3, 40, 1), "many": (2048, 7, 7)}


@pytest.mark.few(3)
@pytest.mark.parametrize("shape", ODD.values(), ids=ODD)
def test_odd_shapes(show, shape):
    values = random_maps(*shape)
    page = show(make_maps(values, layer="mine"))
    last = tuple(extent - 1 for extent in shape)
    assert_hover_agrees(Mosaic(page, shape), values, [(0, 0, 0), last])
    page.evaluate(f"location.hash = '#channel={shape[0] // 2}'")
    settle(page)
    assert_hover_agrees(Panel(page, shape), values, [(shape[0] // 2, 0, 0), (shape[0] // 2, *last[1:])])


def test_maps_of_one_value_share_their_scale(show, tmp_path):
    page = show(make_maps(np.arange(9.0).reshape(9, 1, 1), layer="mine"))
    mosaic = Mosaic(page, (9, 1, 1))
    levels = [brightness(page, tmp_path, mosaic.point(place, 0, 0)) for place in (1, 4, 8)]
    assert levels == pytest.approx([32, 127, 255], abs=4)


@pytest.mark.slow
def test_large_maps_are_thinned_out_in_the_mosaic_alone(show):
    values = random_maps(20, 896, 896)
    page = show(make_maps(values, layer="mine"))
    every = page.evaluate("overview.grid.every")
    assert every == 2
    (channel, row, column, value), _ = read_value(page, Mosaic(page, (20, 448, 448)).point(7, 200, 100))
    assert (channel, row, column) == (7, 400, 200)
    assert value == pytest.approx(float(values[7, 400, 200]), abs=half_step(values, 7) * 1.001)
    page.evaluate("location.hash = '#channel=19'")
    settle(page)
    page.mouse.move(*Panel(page, values.shape).point(19, 500, 501))
    page.wait_for_selector("#tooltip", state="visible")


@pytest.mark.parametrize("kind", ["12bit", "float32"])
def test_what_is_no_number_is_shown_as_such(show, tmp_path, kind):
    values = random_maps(4, 6, 8)
    values[2, 1, 2], values[2, 3, 4], values[2, 5, 6] = np.nan, np.inf, -np.inf
    page = show(make_maps(values, activation="none"), page_options=PageOptions(values=kind))
    mosaic = Mosaic(page, values.shape)
    for picture in (mosaic, Panel(page, values.shape)):
        for place, word in (((2, 1, 2), "nan"), ((2, 3, 4), "inf"), ((2, 5, 6), "-inf")):
            (*_, value), _ = read_value(page, picture.point(*place))
            assert str(value) == word
            assert colour(page, tmp_path, picture.point(*place)) == pytest.approx((255, 47, 208), abs=8)
        if picture is mosaic:
            assert "3 values" in page.inner_text("#numbers")
            page.evaluate("location.hash = '#channel=2'")
            settle(page)
    finite = values[2][np.isfinite(values[2])]
    assert f"Maximum\n{finite.max():.6}" in page.inner_text("#numbers")


def test_nothing_but_nan(show):
    show(make_maps(np.full((3, 4, 4), np.nan)), address="#channel=1")


def test_the_picture_can_be_saved_and_nothing_is_uploaded(show, tmp_path):
    page = show(make_maps(random_maps(5, 9, 9)))
    assert page.locator("#overview .modebar-btn").count() == 6
    assert page.locator(".modebar-btn[data-title*=hare], .modebar-btn[data-title*=loud]").count() == 0
    with page.expect_download() as download:
        page.locator("#overview .modebar-btn").first.click()
    download.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        assert len(set(saved.convert("L").tobytes())) > 20


def test_a_browser_without_fast_base64(show, browser, monkeypatch):
    values = random_maps(5, 9, 14)
    script = "delete Uint8Array.fromBase64; delete Uint8Array.prototype.toBase64"
    new_context = browser.new_context

    def older_context(**options):
        context = new_context(**options)
        context.add_init_script(script)
        return context

    monkeypatch.setattr(browser, "new_context", older_context)
    page = show(make_maps(values))
    assert page.evaluate("Uint8Array.fromBase64") is None
    assert_hover_agrees(Mosaic(page, values.shape), values, [(4, 8, 13)])


def test_plotly_beside_the_page(show, tmp_path):
    name, script = plotly_js.script_file()
    (tmp_path / name).write_bytes(script)
    values = random_maps(5, 9, 14)
    page = show(make_maps(values), page_options=PageOptions(plotlyjs="file"))
    assert_hover_agrees(Mosaic(page, values.shape), values, [(4, 8, 13)])


A4, LETTER = 718, 740  # CSS pixels between margins of 10 mm


def on_paper(page):
    page.emulate_media(media="print")
    page.wait_for_selector("#paper figure")


@pytest.mark.few(3)
@pytest.mark.parametrize("width", [A4, LETTER])
@pytest.mark.parametrize("count", [9, 64, 150])
def test_on_paper_every_map_is_whole_and_has_its_number(show, tmp_path, width, count):
    values = np.stack([np.full((6, 8), index, np.float32) for index in range(count)])
    values[:, 0, 0], values[:, -1, -1] = -1, count  # a corner that is black, and one that is white
    page = show(make_maps(values, activation="none"), address="#scale=shared")
    page.set_viewport_size({"width": width, "height": 900})
    on_paper(page)
    assert page.locator("#work").is_hidden()
    figures = page.locator("#paper figure")
    assert [figure.strip() for figure in figures.all_inner_texts()] == [str(index) for index in range(count)]
    page.screenshot(path=tmp_path / "paper.png", full_page=True)
    boxes = page.evaluate(
        "[...document.querySelectorAll('#paper canvas')].map((each) => each.getBoundingClientRect().toJSON())"
    )
    with Image.open(tmp_path / "paper.png") as paper:
        paper = paper.convert("L")
        assert paper.width == width
        for index, box in enumerate(boxes):
            assert 0 <= box["left"] < box["right"] <= width
            assert box["bottom"] <= paper.height
            middle = paper.getpixel((int(box["left"] + box["width"] / 2), int(box["top"] + box["height"] / 2)))
            assert abs(middle - 255 * (index + 1) / (count + 1)) < 4
            corners = [(box["left"] + 1, box["top"] + 1), (box["right"] - 2, box["bottom"] - 2)]
            assert paper.getpixel(tuple(map(int, corners[0]))) < 4
            assert paper.getpixel(tuple(map(int, corners[1]))) > 250
    page.emulate_media(media="screen")
    page.wait_for_selector("#paper figure", state="detached")


def test_a_channel_on_paper(show):
    values = random_maps(9, 24, 32)
    page = show(make_maps(values), address="#channel=2&pins=4,5,6,7,8")
    on_paper(page)
    texts = page.locator("#paper figure").all_inner_texts()
    assert [text.splitlines()[0] for text in texts] == [f"channel {number}" for number in (2, 4, 5, 6, 7, 8)]
    assert formatted(values[2].max()) in texts[0]
    pixels = page.evaluate(
        "[...document.querySelector('#paper canvas').getContext('2d').getImageData(0, 0, 32, 24).data]"
    )
    shown = np.array(pixels).reshape(24, 32, 4)[..., 0] / 255
    low, high = values[2].min(), values[2].max()
    assert np.abs(shown - (values[2] - low) / (high - low)).max() < 0.01


def formatted(value):
    return f"{float(f'{value:.3g}'):g}".replace("-", "\u2212")


@pytest.mark.parametrize("sandbox", [None, "allow-scripts"])
def test_inside_a_frame_without_an_address(browser, sandbox):
    """As Streamlit and notebooks show pages: the history is out of reach."""
    page = browser.new_page(viewport={"width": 1250, "height": 850})
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.evaluate(
        """([content, sandbox]) => {
          const frame = document.createElement('iframe');
          Object.assign(frame, { width: 1200, height: 800, srcdoc: content });
          if (sandbox) frame.sandbox = sandbox;
          document.body.append(frame);
        }""",
        [render_page(make_maps(random_maps(5, 9, 14))).decode(), sandbox],
    )
    page.wait_for_timeout(500)
    inside = page.frames[1]
    inside.wait_for_selector("body[data-state=ready]")
    inside.locator("#overview").focus()
    shown = []
    for key in ("ArrowRight", "Enter", "ArrowRight", "p", "Escape"):
        page.keyboard.press(key)
        inside.wait_for_timeout(60)
        inside.wait_for_selector("body[data-state=ready]")
        shown.append(inside.evaluate("[state.channel, element('panels').hidden, state.pins.length]"))
    assert shown == [[None, True, 0], [0, False, 0], [1, False, 0], [1, False, 1], [None, True, 1]]
    assert said == []
    page.close()


def test_the_value_follows_what_is_shown(show):
    values = random_maps(4, 9, 14)
    page = show(make_maps(values), address="#channel=1")
    box = page.locator(".nsewdrag").first.bounding_box()
    pointer = [box["x"] + box["width"] * 5.5 / 14, box["y"] + box["height"] * 3.5 / 9]
    page.mouse.move(*pointer)
    for channel in (1, 2, 3):
        page.wait_for_function(f"document.getElementById('tooltip').textContent.includes('channel {channel}')")
        shown = page.inner_text("#tooltip")
        assert "row 3, column 5" in shown
        assert f"value {np.float32(values[channel, 3, 5]):.4}"[:9].replace("-", "\u2212") in shown
        press(page, "ArrowRight")
    press(page, "Escape")
    settle(page)
    found = page.evaluate("([clientX, clientY]) => overview.locate({ clientX, clientY })", pointer)
    assert found, "the pointer rests on a tile"
    told = f"channel {found['channel']}\nrow {found['row']}, column {found['column']}\n"
    page.wait_for_function("(told) => element('tooltip').textContent.startsWith(told)", arg=told)
    assert f"value {np.float32(values[found['channel'], found['row'], found['column']]):.4}"[:9].replace(
        "-", "\u2212"
    ) in page.inner_text("#tooltip")


def test_finite_values_never_have_the_colour_of_nan(show):
    """Where a channel reaches far below zero and little above, its 12 bits are coarser than ReLU's whole range."""
    values = np.full((4, 16, 16), -1000, np.float32)
    values[:, ::3, ::3] = np.linspace(0.01, 1.2, 36).reshape(6, 6)
    page = show(make_maps(values, activation="none"), page_options=PageOptions(both=True), address="#view=relu")
    assert not page.evaluate("overview.bitmap.pixels.includes(BROKEN_LEVEL)")
    broken = np.where(values > 1, np.inf, values)
    page = show(make_maps(broken, activation="none"), page_options=PageOptions(both=True), address="#view=relu")
    assert page.evaluate("overview.bitmap.pixels.includes(BROKEN_LEVEL)")


def test_a_double_click_marks_nothing(show):
    page = show(make_maps(random_maps(4, 24, 32)))
    box = page.locator("#overview .nsewdrag").bounding_box()
    page.mouse.dblclick(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    settle(page)
    opened = page.evaluate("JSON.stringify(state.at)")
    page.wait_for_timeout(600)
    panel = page.locator("#panels .nsewdrag").first.bounding_box()
    place = panel["x"] + panel["width"] * 0.8, panel["y"] + panel["height"] * 0.8
    page.mouse.dblclick(*place)
    settle(page)
    assert page.evaluate("JSON.stringify(state.at)") == opened
    page.wait_for_timeout(600)
    page.mouse.click(*place)
    settle(page)
    assert page.evaluate("JSON.stringify(state.at)") not in (opened, "null")
    page.wait_for_timeout(600)
    page.mouse.click(*place)
    settle(page)
    assert page.evaluate("JSON.stringify(state.at)") == "null"


def test_keys_belong_to_the_figure_after_choosing_with_the_pointer(show):
    page = show(make_maps(random_maps(4, 9, 14)), address="#channel=1")
    page.locator("#colours").click()
    page.locator("#colours").select_option("viridis")
    page.locator("#colours").dispatch_event("change")
    press(page, "ArrowRight")
    assert page.evaluate("[state.channel, state.colours]") == [2, "viridis"]
    assert "channel 2" in page.title()


def test_walking_layers_keeps_the_channel(show):
    maps = [
        make_maps(random_maps(count, 9, 14), layer=name)
        for name, count in (("block1_conv1", 9), ("block1_conv2", 3), ("block1_pool", 9))
    ]
    page = show(maps, address="#channel=7")
    for key, channel in (("ArrowDown", 2), ("ArrowDown", 7), ("ArrowUp", 2), ("ArrowUp", 7)):
        press(page, key)
        assert page.evaluate("state.channel") == channel


def test_values_are_read_with_the_keyboard_alone(show):
    values = random_maps(5, 9, 14)
    page = show(make_maps(values), address="#channel=1")
    page.locator("#panels").focus()
    row, column = 4, 7
    press(page, "v")
    for key, down, right in (
        ("ArrowRight", 0, 1),
        ("ArrowDown", 1, 0),
        ("ArrowDown", 1, 0),
        ("ArrowLeft", 0, -1),
        ("ArrowUp", -1, 0),
    ):
        row, column = row + down, column + right
        press(page, key)
        said = page.text_content("#spoken")
        assert said == page.text_content("#tooltip")
        assert f"channel 1\nrow {row}, column {column}\n" in said
        assert abs(told(said) - values[1, row, column]) < 0.02  # 12 bits
    press(page, "n", "p")
    assert page.evaluate("state.pins.length") == 1
    press(page, "Escape")
    assert page.evaluate("state.channel") == 1
    assert page.locator("#tooltip").is_hidden()
    press(page, "ArrowRight")
    assert page.evaluate("state.channel") == 2


def told(text):
    return float(re.search(r"value (\S+)", text)[1].replace("\u2212", "-"))


@pytest.mark.parametrize("address", ["", "#channel=2"])
def test_a_finger_scrolls_the_page_and_leaves_the_value(show, address):
    values = random_maps(16, 24, 32)
    page = show(
        make_maps(values), address=address, viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True
    )
    pane = page.locator("#panels .nsewdrag" if address else "#overview .nsewdrag").first.bounding_box()
    x, y = pane["x"] + pane["width"] / 3, min(450, pane["y"] + pane["height"] / 2)
    figure = "detail" if address else "overview"
    ranges = f"JSON.stringify([{figure}.plot._fullLayout.xaxis.range, {figure}.plot._fullLayout.yaxis.range])"
    before = page.evaluate(ranges)
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for moved in range(20, 200, 20):
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - moved}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") > 100
    assert page.evaluate(ranges) == before
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)
    if address:
        page.touchscreen.tap(x, y)
        settle(page)
        page.wait_for_timeout(300)
        said = page.inner_text("#tooltip")
        row, column = (int(each) for each in re.search(r"row (\d+), column (\d+)", said).groups())
        assert abs(told(said) - values[2, row, column]) < 0.02  # 12 bits


def test_many_pins_share_the_width(show):
    page = show(
        make_maps(random_maps(12, 24, 24)),
        address="#channel=0&pins=1,2,3,4,5,6",
        viewport={"width": 1366, "height": 768},
    )
    lefts = page.evaluate("detail.panels.map((_, number) => Math.round(detail.box(number).left))")
    assert len(set(lefts)) >= 3


def test_a_browser_that_cannot_inflate_is_told_which_can(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(render_page(make_maps(random_maps(2, 4, 4))))
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-state=failed]")
    assert "this browser is too old. Chrome 80" in page.inner_text("#status")
    page.close()


def ranges_of(page, figure):
    """What a figure shows of its axes: left, right, bottom, top."""
    axes = (
        f"(({{ xaxis, yaxis }}) => [...xaxis.range, ...yaxis.range])(document.getElementById('{figure}')._fullLayout)"
    )
    return page.evaluate(axes)


@pytest.mark.few(1)
@pytest.mark.parametrize(("figure", "address"), [("overview", ""), ("panels", "#channel=2")])
def test_zoom_and_moves_end_at_the_edges_and_at_few_values(show, figure, address):
    page = show(make_maps(random_maps(9, 24, 32)), address=address)
    left, right, bottom, top = home = ranges_of(page, figure)
    box = page.locator(f"#{figure} .nsewdrag").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def wheel(times, way):
        page.mouse.move(*middle)
        for _ in range(times):
            page.mouse.wheel(0, way)
            page.wait_for_timeout(40)
        page.wait_for_timeout(300)

    wheel(5, 300)
    press(page, *["-"] * 3)
    assert ranges_of(page, figure) == pytest.approx(home)
    wheel(4, -300)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 900, middle[1] + 900, steps=5)
    page.mouse.up()
    page.wait_for_timeout(300)
    moved = ranges_of(page, figure)
    assert moved[0] == pytest.approx(left, abs=1e-6)
    assert moved[3] == pytest.approx(top, abs=1e-6)
    press(page, *["Shift+ArrowRight"] * 13, *["Shift+ArrowDown"] * 13)
    moved = ranges_of(page, figure)
    assert moved[1] == pytest.approx(right)
    assert moved[2] == pytest.approx(bottom)
    press(page, *["+"] * 4)
    wheel(3, -300)
    near = ranges_of(page, figure)
    assert near[1] - near[0] >= 4 - 1e-6  # the maps' values are as large as the photo's pixels
    press(page, "0")
    assert ranges_of(page, figure) == pytest.approx(home)


@pytest.mark.few(1)
@pytest.mark.parametrize(("figure", "address"), [("overview", ""), ("panels", "#channel=2")])
def test_the_address_keeps_the_zoom(show, figure, address):
    content = render_page(make_maps(random_maps(9, 24, 32)))
    page = show(content, address=address)
    press(page, "+", "+", "Shift+ArrowRight")
    page.wait_for_timeout(500)
    seen, kept = ranges_of(page, figure), page.evaluate("location.hash")
    other = show(content, address=kept)
    assert ranges_of(other, figure) == pytest.approx(seen, abs=0.06)  # the address holds tenths
    press(page, "0")
    page.wait_for_timeout(500)
    assert_address(page, address)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "address", ["#zoom=9,9,3,3&channel=1", "#mosaic=1,2,3", "#mosaic=-5,-5,1e9,7", "#mosaic=0,0,900000,900000"]
)
def test_a_zoom_that_cannot_be_meant_shows_all(show, address):
    page = show(make_maps(random_maps(4, 8, 8)), address=address)
    left, right, bottom, top = ranges_of(page, "panels" if "channel" in address else "overview")
    assert (left, top) == (0, 0)
    assert (right, bottom) == ((32, 24) if "channel" in address else (17, 17))


def test_the_keyboards_tile_stays_in_view(show):
    page = show(make_maps(random_maps(16, 20, 20)))
    press(page, "ArrowRight", "+", "+", "+")
    stage = page.locator("#labels").bounding_box()
    for key in ["ArrowRight"] * 3 + ["ArrowDown"] * 3 + ["ArrowLeft"] * 3:
        press(page, key)
        page.wait_for_timeout(60)
        cursor = page.locator("#labels .cursor").bounding_box()
        assert stage["x"] - 1 <= cursor["x"]
        assert cursor["x"] + cursor["width"] <= stage["x"] + stage["width"] + 1
        assert stage["y"] - 1 <= cursor["y"]
        assert cursor["y"] + cursor["height"] <= stage["y"] + stage["height"] + 1


def test_the_focus_is_on_what_is_shown(show):
    page = show(make_maps(random_maps(9, 20, 20)))
    page.locator("#overview").focus()
    press(page, "ArrowRight", "ArrowRight", "Enter")
    assert page.evaluate("document.activeElement.id") == "panels"
    press(page, "ArrowRight")
    page.locator("#next").focus()
    press(page, "Escape")
    assert page.evaluate("document.activeElement.id") == "overview"
    press(page, "Enter")  # the tile that was open
    assert_address(page, "#channel=2")


def test_layers_change_with_the_keyboard_from_everywhere(show):
    layers = [make_maps(random_maps(4, 8, 8), layer=name) for name in ("one", "two", "three")]
    page = show(layers)
    press(page, "PageDown", "PageDown", "PageDown", "PageUp")
    assert page.inner_text("h1").startswith("two,")
    press(page, "ArrowRight", "Enter", "PageDown")
    assert page.inner_text("h1").startswith("three - channel 0,")


def test_the_mark_is_on_every_tile(show):
    values = random_maps(9, 24, 32)
    page = show(make_maps(values), address="#at=5,20")
    mosaic = Mosaic(page, values.shape)
    marks = page.locator("#labels .marked")
    assert marks.count() == 9
    for place in (0, 7):
        box = marks.nth(place).bounding_box()
        assert (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) == pytest.approx(
            mosaic.point(place, 5, 20), abs=2
        )
    photo = page.locator("#photo").bounding_box()
    page.mouse.click(photo["x"] + 16.5 / 32 * photo["width"], photo["y"] + 12.5 / 24 * photo["height"])
    settle(page)
    box = marks.nth(4).bounding_box()
    assert (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) == pytest.approx(mosaic.point(4, 12, 16), abs=2)


def test_a_squashed_photo_says_where_a_value_lies_in_the_original(show):
    """The model saw 24 x 32 pixels of 480 x 320: rows are 20 times as high, columns 10 times as wide."""
    values = random_maps(4, 24, 32)
    maps = make_maps(values)
    page = show(replace(maps, provenance=replace(maps.provenance, image_size=(480, 320))), address="#channel=1")
    _, text = read_value(page, Panel(page, values.shape).point(1, 10, 20))
    seen = maps.provenance.card.view_of(maps.layer).receptive_field
    assert seen == (3, 3)
    assert "original: rows 180 to 239,\ncolumns 190 to 219" in text
    assert "column of what the model saw" in page.inner_text("#panels")
    page = show(replace(maps, provenance=replace(maps.provenance, image_size=(24, 32))), address="#channel=1")
    assert "original" not in read_value(page, Panel(page, values.shape).point(1, 10, 20))[1]
    assert "column of the photo" in page.inner_text("#panels")


def two_photos():
    """Maps of two layers of two photos; a channel's value tells layer and photo."""
    layers = []
    for photo in (0, 1):
        pixels = np.full((24, 32, 3), 60 + 100 * photo, np.uint8)
        for place, name in enumerate(("one", "two")):
            values = random_maps(4, 24, 32) + 10 * photo + 100 * place
            layers.append(make_maps(values, layer=name, image_name=f"{'ab'[photo]}.png", pixels=pixels))
    return layers


def test_two_photos_stand_side_by_side(show):
    layers = two_photos()
    page = show(layers, address="#channel=2&layer=two")
    assert page.locator("#pictures button").all_inner_texts() == ["a.png", "b.png"]
    assert page.locator("#strip button").all_inner_texts() == ["one", "two"]
    assert page.locator("#panels .heatmaplayer image").count() == 2
    for number, maps in ((0, layers[1]), (1, layers[3])):
        (*_, value), text = read_value(page, Panel(page, (4, 24, 32), number).point(2, 5, 20))
        assert value == pytest.approx(maps.maps[0, 2, 5, 20], abs=0.05)
        assert text.startswith(maps.provenance.image_name)
    both = np.stack([layers[1].maps[0, 2], layers[3].maps[0, 2]])
    scale = "(({ zmin, zmax }) => [zmin, zmax])(document.getElementById('panels')._fullData[{}])"
    scales = [page.evaluate(scale.replace("{}", str(number))) for number in (0, 1)]
    assert scales[0] == scales[1] == pytest.approx([both.min(), both.max()], abs=0.1)
    press(page, "o")
    assert_address(page, "#photo=1&layer=two&channel=2")
    assert page.locator("#photo").is_hidden()
    assert page.locator("#photo-1").is_visible()
    press(page, "PageUp", "PageUp")
    assert_address(page, "#photo=1&channel=2")
    assert page.inner_text("h1").startswith("one - channel 2")
    page.go_back()
    settle(page)
    assert page.inner_text("h1").startswith("two - channel 2")
    other = show(layers, address="#photo=1&layer=two")
    (*_, value), _ = read_value(other, Mosaic(other, (4, 24, 32)).point(3, 7, 9))
    assert value == pytest.approx(layers[3].maps[0, 3, 7, 9], abs=0.05)


@pytest.mark.parametrize("values", ["12bit", "float32"])
def test_a_mosaic_larger_than_the_screen_is_drawn_coarse_until_one_zooms(show, tmp_path, values):
    rows, columns = np.mgrid[:224, :224]
    maps = np.stack([(-1) ** channel * (rows + channel * columns) for channel in range(16)]).astype(np.float32)
    page = show(make_maps(maps, activation="none"), viewport=PHONE, page_options=PageOptions(values=values))
    mosaic = Mosaic(page, maps.shape)

    def assert_right(channel, row, column):
        point = mosaic.point(channel, row, column)
        (shown, *place, value), _ = read_value(page, point)
        assert shown == channel
        assert np.abs(np.subtract(place, (row, column))).max() <= 3  # a pixel of the screen covers several values
        assert value == pytest.approx(maps[channel, *place], abs=1)
        page.mouse.move(0, 0)
        page.screenshot(path=tmp_path / "mosaic.png")
        with Image.open(tmp_path / "mosaic.png") as picture:
            grey = picture.convert("L").getpixel(tuple(map(int, point)))
        low, high = maps[channel].min(), maps[channel].max()
        assert grey == pytest.approx(float((maps[channel, row, column] - low) / (high - low) * 255), abs=8)

    assert page.evaluate("overview.bitmap.coarse") == 2
    assert_right(5, 100, 31)
    assert_right(14, 20, 200)
    press(page, "+", "+", "+")
    page.wait_for_timeout(300)
    settle(page)
    assert page.evaluate("overview.bitmap.coarse") == 1
    assert_right(5, 200, 100)
