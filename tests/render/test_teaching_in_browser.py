"""What the page explains: strongest channels, filters, the convolution, the legend; in headless Chromium."""

import re

import numpy as np
import pytest

from fmedge.model.first_kernel import FirstKernel
from fmedge.render.page import render_page
from support.keys import assert_address, settle
from support.page_samples import make_maps, random_maps
from support.viewports import DESKTOP

pytestmark = pytest.mark.browser


@pytest.fixture
def show(open_file):
    def open_page(maps, address="", kernels=None, **options):
        return open_file(render_page(maps, kernels=kernels), address, viewport=DESKTOP, **options)

    return open_page


def number(text):
    return float(text.replace("\u2212", "-").split()[-1])


def labels(page):
    return [int(text.split()[0]) for text in page.locator("#labels span").all_inner_texts()]


def test_the_strongest_channels_at_a_place(show):
    values = random_maps(20, 24, 32)
    page = show(make_maps(values), address="#at=5,20")
    expected = np.argsort(-values[:, 5, 20], kind="stable")
    found = page.locator("#strongest-list button").all_inner_texts()
    assert [int(re.match(r"channel (\d+)", text)[1]) for text in found] == expected[:12].tolist()
    assert [number(text) for text in found] == pytest.approx(values[expected[:12], 5, 20], abs=0.02, rel=1e-3)
    page.select_option("#order", "place")
    settle(page)
    assert labels(page) == expected.tolist()
    page.locator("#strongest-list button").nth(1).click()
    settle(page)
    assert page.inner_text("h1").startswith(f"block1_conv1 - channel {expected[1]},")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.inner_text("h1").startswith(f"block1_conv1 - channel {expected[2]},")


def test_a_filter_shows_what_it_says(show):
    values = random_maps(12, 8, 8)
    values[[3, 7]] = -1  # dead after ReLU
    maps = make_maps(np.maximum(values, 0))
    largest = maps.maps[0].max(axis=(1, 2))
    limit = float(np.median(largest))
    page = show(maps)
    for text, expected in [
        ("dead", [3, 7]),
        (f"max > {limit:.6f}", np.flatnonzero(largest > limit).tolist()),
        (f"alive, max < {limit:.6f} and 0-6", [n for n in range(7) if 0 < largest[n] < limit]),
        ("2, 5, 90", [2, 5]),
        ("", list(range(12))),
    ]:
        page.fill("#filter", text)
        page.keyboard.press("Enter")
        settle(page)
        assert labels(page) == expected, text
    page.fill("#filter", "huge")
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('filter').validationMessage").startswith("Allowed: max > 5")
    page.fill("#filter", "max > 1e9")
    page.keyboard.press("Enter")
    settle(page)
    assert page.inner_text("#nothing") == "No channel is like that."
    assert_address(page, "#filter=max+%3E+1e9")


def test_walking_keeps_to_the_filter(show):
    page = show(make_maps(random_maps(9, 8, 8)), address="#filter=2,4-5&channel=4")
    for expected in (5, 2, 4):
        page.keyboard.press("ArrowRight")
        settle(page)
        assert page.inner_text("h1").startswith(f"block1_conv1 - channel {expected},")


@pytest.mark.parametrize("place", [(5, 20), (0, 0), (23, 31)])
def test_the_products_sum_up_to_the_value(show, place):
    """A real convolution of the page's photo: BGR minus the mean, beyond the photo zeros."""
    generator = np.random.default_rng(5)
    pixels = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    weights = generator.normal(size=(3, 3, 3, 3)).astype(np.float32)
    bias = np.array([3, -200, 7.5], np.float32)
    read = np.pad(pixels.astype(float) - [123.68, 116.779, 103.939], ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(read, (3, 3), axis=(0, 1))  # row, column, colour, in window
    values = np.einsum("yxcij,kijc->kyx", windows, weights.astype(float)) + bias[:, np.newaxis, np.newaxis]
    maps = make_maps(values, activation="none", pixels=pixels)
    row, column = place
    page = show(maps, kernels={"block1_conv1": FirstKernel(weights, bias)}, address=f"#channel=1&at={row},{column}")
    page.click("#convolution summary")
    found = [number(text) for text in page.locator("#products td").all_inner_texts()]
    expected = np.stack([windows[row, column, colour] * weights[1, :, :, colour] for colour in range(3)])
    assert found == pytest.approx(expected.ravel(), rel=1e-3)
    said = page.inner_text("#sum").replace("\u2212", "-")
    assert "+ bias -200 = " in said
    assert float(re.search(r"= (\S+) ", said)[1]) == pytest.approx(values[1, row, column], rel=1e-3)
    page.click("#convolution-step")
    assert page.inner_text("#sum").startswith("1 of 27 products: ")
    assert page.locator("#products .latest").inner_text() == page.locator("#products td").first.inner_text()
    page.click("#convolution-back")
    assert page.inner_text("#sum").startswith("0 of 27 products: 0")


def test_a_value_that_the_products_do_not_make_is_not_explained(show):
    kernels = {"block1_conv1": FirstKernel(np.ones((4, 3, 3, 3), np.float32), np.zeros(4, np.float32))}
    page = show(make_maps(random_maps(4, 24, 32), activation="none"), kernels=kernels, address="#channel=1&at=5,20")
    assert page.locator("#convolution").is_hidden()


def test_play_goes_on_until_a_key(show):
    page = show(make_maps(random_maps(4, 8, 8)), address="#channel=0")
    page.click("#play")
    settle(page)
    assert page.inner_text("h1").startswith("block1_conv1 - channel 1,")
    page.wait_for_function("() => document.querySelector('h1').textContent.includes('channel 3,')")
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert page.get_attribute("#play", "aria-pressed") == "false"
    assert page.inner_text("h1").startswith("block1_conv1 - channel ")
    shown = page.inner_text("h1")
    page.wait_for_timeout(900)
    assert page.inner_text("h1") == shown


def test_the_legend_tells_the_range_and_zero(show):
    values = random_maps(4, 8, 8)
    page = show(make_maps(values, activation="none"), address="#scale=shared")
    low, high = values.min(), values.max()
    assert number(page.inner_text("#lowest")) == pytest.approx(low, rel=0.01)
    assert number(page.inner_text("#highest")) == pytest.approx(high, rel=0.01)
    gradient, zero = page.locator("#gradient").bounding_box(), page.locator("#zero").bounding_box()
    assert (zero["x"] - gradient["x"]) / gradient["width"] == pytest.approx(-low / (high - low), abs=0.02)
    page.select_option("#scale", "own")
    settle(page)
    assert page.inner_text("#lowest") == "smallest"
    box = page.locator("#overview image").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.wait_for_selector("#tooltip", state="visible")
    assert number(page.inner_text("#lowest")) == pytest.approx(values[0].min(), rel=0.01)
    assert page.inner_text("#legend-of") == "value of channel 0"
