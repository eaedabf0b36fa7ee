"""Pages in a real browser: headless Chromium, driven by Playwright."""

import math
import os
import re
import shutil

import numpy as np
import pytest
from page_samples import UNTRAINED, make_maps, random_maps
from PIL import Image
from test_page import HOSTILE, poisoned

from fmedge.render import render_page

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


def find_browser():
    named = os.environ.get("FMEDGE_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    path = find_browser()
    if not path:
        pytest.skip("no Chromium found: install one or name it in FMEDGE_CHROMIUM")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root has no sandbox
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--disable-gpu", *sandbox])
        yield opened
        opened.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open maps in a page; when the test ends, the page must have been silent and without network."""
    complaints, requests, contexts = [], [], []

    def open_page(maps, channel=None, viewport=DESKTOP, **options):
        path = tmp_path / "page.html"
        path.write_bytes(render_page(maps, channel=channel))
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-state]")
        assert page.get_attribute("body", "data-state") == "ready", page.inner_text("#status")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:", tmp_path.as_uri()))] == []


class Mosaic:
    """Where a value of the mosaic is on the screen, reckoned from the picture's place."""

    def __init__(self, page, shape):
        self.page = page
        self.channels, self.rows, self.columns = shape
        self.across = math.ceil(math.sqrt(self.channels))
        self.gap = max(1, round(self.columns / 40))

    def box(self):
        return self.page.locator("#plot image").bounding_box()

    def point(self, channel, row, column):
        down = math.ceil(self.channels / self.across)
        width = self.across * (self.columns + self.gap) - self.gap
        height = down * (self.rows + self.gap) - self.gap
        x = channel % self.across * (self.columns + self.gap) + column + 0.5
        y = channel // self.across * (self.rows + self.gap) + row + 0.5
        box = self.box()
        return box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]


class Heatmap(Mosaic):
    def __init__(self, page, shape):
        super().__init__(page, (1, *shape[1:]))

    def point(self, channel, row, column):
        return super().point(0, row, column)

    def box(self):
        return self.page.locator("#plot .heatmaplayer image").bounding_box()


def read_value(page, point):
    """What the tooltip says at a point: channel, row, column, value."""
    page.mouse.move(0, 0)
    page.wait_for_selector("#tooltip", state="hidden")
    page.mouse.move(*point)
    page.wait_for_selector("#tooltip", state="visible")
    text = page.inner_text("#tooltip").replace("\u2212", "-")
    found = re.fullmatch(r"channel (\d+)\nrow (\d+), column (\d+)\nvalue (\S+)", text)
    assert found, text
    return (*map(int, found.groups()[:3]), float(found[4]))


def assert_hover_agrees(picture, values, places):
    for channel, row, column in places:
        *place, value = read_value(picture.page, picture.point(channel, row, column))
        assert place == [channel, row, column]
        half_step = float(np.ptp(values[channel])) / 4095 / 2
        assert value == pytest.approx(float(values[channel, row, column]), abs=half_step * 1.001 + 1e-6)


SHAPES = [(5, 9, 14), (10, 24, 17), (1, 5, 7), (12, 320, 331)]  # the last one has several chunks


@pytest.mark.parametrize("shape", SHAPES)
def test_hover_tells_the_arrays_value(show, shape):
    values = random_maps(*shape)
    channels, rows, columns = shape
    places = {(0, 0, 0), (channels - 1, rows - 1, columns - 1), (channels // 2, 1, columns - 2), (0, rows - 1, 0)}
    assert_hover_agrees(Mosaic(show(make_maps(values)), shape), values, places)


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


def test_no_value_between_the_tiles_or_beyond_the_last(show):
    page = show(make_maps(random_maps(3, 20, 20)))
    mosaic = Mosaic(page, (3, 20, 20))
    for place in [(0, 5, 20), (0, 20, 5), (3, 5, 5)]:
        page.mouse.move(*mosaic.point(*place))
        page.wait_for_timeout(50)
        assert page.locator("#tooltip").is_hidden()


def brightness(page, tmp_path, point):
    path = tmp_path / "screen.png"
    page.screenshot(path=path)
    with Image.open(path) as screen:
        return screen.convert("L").getpixel((int(point[0]), int(point[1])))


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


def test_channel_numbers_are_on_their_tiles_and_come_with_the_zoom(show):
    values = random_maps(625, 12, 14)
    page = show(make_maps(values))
    mosaic = Mosaic(page, values.shape)
    assert page.locator("#labels span").count() == 0  # tiles of 33 pixels
    page.locator("#plot").focus()
    page.keyboard.press("+")
    page.wait_for_selector("#labels span")
    label = page.locator("#labels span", has_text=re.compile(r"^312$")).bounding_box()
    x, y = mosaic.point(312, 0, 0)
    assert abs(label["x"] - x) < 10
    assert abs(label["y"] - y) < 10


def test_keys_zoom_move_and_go_home(show):
    page = show(make_maps(random_maps(9, 20, 20)))
    mosaic = Mosaic(page, (9, 20, 20))
    home = mosaic.box()
    page.locator("#plot").focus()
    page.keyboard.press("+")
    page.wait_for_timeout(200)
    larger = mosaic.box()
    assert larger["width"] == pytest.approx(1.5 * home["width"], rel=0.02)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(200)
    assert mosaic.box()["x"] < larger["x"] - 20
    assert mosaic.box()["y"] < larger["y"] - 20
    page.keyboard.press("0")
    page.wait_for_timeout(200)
    assert mosaic.box() == pytest.approx(home, abs=1)


def test_channel_page(show):
    values = random_maps(7, 30, 22)
    page = show(make_maps(values, weights=UNTRAINED), channel=6, viewport={"width": 800, "height": 500})
    assert page.inner_text("h1") == "block1_conv1 - channel 6, after ReLU"
    assert page.inner_text("#note") == "untrained weights: random, not learned"
    assert page.locator(".colorbar, .infolayer .cbbg").count() > 0
    heatmap = Heatmap(page, values.shape)
    box = heatmap.box()
    assert box["width"] / 22 == pytest.approx(box["height"] / 30, rel=0.02)  # square values
    assert_hover_agrees(heatmap, values, [(6, 0, 0), (6, 29, 21), (6, 3, 17)])


@pytest.mark.parametrize("channel", [None, 2])
def test_a_phone_shows_all_of_it(show, channel):
    name = "a rather long file name without_a_place_to_break_" + 60 * "x" + ".png"
    maps = make_maps(random_maps(64, 28, 28), weights=UNTRAINED, image_name=name)
    page = show(maps, channel, PHONE, is_mobile=True, has_touch=True)
    sides = page.evaluate(
        "['h1', '#subtitle', '#note', '#photo', '#facts', '#stage', '#help', '#plot .main-svg', '.modebar']"
        ".map((name) => document.querySelector(name).getBoundingClientRect()).flatMap((box) => [box.left, box.right])"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert min(sides) >= 0
    assert max(sides) <= PHONE["width"]


def test_dark_follows_the_system_while_open(show):
    page = show(make_maps(random_maps(5, 9, 9)))
    sources = []
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)
        sources.append(page.locator("#plot image").evaluate("(image) => image.href.baseVal"))
    assert sources[0] == sources[2] != sources[1]


@pytest.mark.parametrize("channel", [None, 1])
def test_names_from_outside_are_shown_as_they_are(show, channel):
    name = "".join(HOSTILE).replace("\x00", "")
    page = show(poisoned(name), channel)
    assert name in page.text_content("h1")
    assert name in page.text_content("#subtitle")
    assert name in page.title() or re.sub(r"\s+", " ", name) in page.title()
    assert page.locator("header *, dl * > *").count() == 3  # h1 and two paragraphs, nothing in them


def test_the_picture_can_be_saved_and_nothing_is_uploaded(show, tmp_path):
    page = show(make_maps(random_maps(5, 9, 9)))
    assert page.locator(".modebar-btn").count() == 6
    assert page.locator(".modebar-btn[data-title*=hare], .modebar-btn[data-title*=loud]").count() == 0
    with page.expect_download() as download:
        page.locator(".modebar-btn").first.click()
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
