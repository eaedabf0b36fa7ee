"""What researchers take out of a page: copied values, saved files; in headless Chromium."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from fmedge.data.page_options import PageOptions
from fmedge.render.page import render_page
from support.keys import assert_address, settle
from support.page_samples import make_maps, random_maps
from support.viewports import DESKTOP, PHONE

pytestmark = pytest.mark.browser


@pytest.fixture
def show(open_file):
    def open_page(maps, address="", **options):
        content = render_page(maps, options=PageOptions(values="float32"))
        return open_file(content, address, viewport=DESKTOP, **options)

    return open_page


def pasted(page):
    """What the clipboard holds, as a text field of the page gets it."""
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'pasted' }))")
    page.focus("#pasted")
    page.keyboard.press("Control+v")
    text = page.input_value("#pasted")
    page.evaluate("document.getElementById('pasted').remove()")
    return text


def assert_copied(text, values, channel, row, column):
    *place, value = text.split("\t")
    assert place == ["block1_conv1", str(channel), str(row), str(column)]
    assert np.float32(value) == values[channel, row, column]  # every bit of it


def test_the_value_under_the_pointer_and_the_marked_one_are_copied(show):
    values = random_maps(1, 24, 32)
    page = show(make_maps(values), address="#channel=0&at=5,20")
    page.keyboard.press("c")
    page.wait_for_function("() => element('spoken').textContent.startsWith('Copied')")
    assert_copied(pasted(page), values, 0, 5, 20)
    box = page.locator("#panels .nsewdrag[data-subplot=xy]").bounding_box()
    page.mouse.move(box["x"] + 10.5 / 32 * box["width"], box["y"] + 7.5 / 24 * box["height"])
    page.wait_for_selector("#tooltip", state="visible")
    page.locator("#panels").focus()
    page.keyboard.press("c")
    page.wait_for_function("() => element('tooltip').textContent.endsWith('copied')")
    assert_copied(page.text_content("#spoken").removeprefix("Copied: "), values, 0, 7, 10)
    assert_copied(pasted(page), values, 0, 7, 10)


def test_the_button_copies_where_the_clipboard_is_out_of_reach(browser):
    """As in frames of notebooks: without an origin, and without the permission to use the clipboard."""
    values = random_maps(2, 24, 32)
    page = browser.new_page(viewport=DESKTOP)
    content = render_page(make_maps(values), options=PageOptions(values="float32")).decode()
    page.evaluate(
        """(content) => {
          const frame = document.createElement('iframe');
          Object.assign(frame, { width: 1200, height: 760, srcdoc: content, sandbox: 'allow-scripts' });
          document.body.append(frame);
        }""",
        content,
    )
    page.wait_for_timeout(300)
    inside = page.frames[1]
    inside.wait_for_selector("body[data-state=ready]")
    inside.evaluate("location.hash = '#channel=1&at=3,9'")
    inside.wait_for_selector("#copy")
    refused = inside.evaluate("navigator.clipboard?.writeText('x').then(() => false, () => true) ?? true")
    assert refused
    inside.click("#copy")
    inside.wait_for_function("() => element('copy').textContent === 'copied'")
    assert inside.evaluate("document.activeElement.id") == "copy"
    assert_copied(pasted(page), values, 1, 3, 9)
    page.close()


def test_without_a_value_nothing_is_copied(show):
    page = show(make_maps(random_maps(3, 8, 8)), address="#at=3,3")
    page.keyboard.press("c")
    page.wait_for_function("() => element('spoken').textContent.startsWith('Nothing to copy')")
    assert page.locator("#marked-value").is_hidden()


def saved(page, form, folder):
    """Save in a form by the menu; the path of the file, under the name that the page gives it."""
    page.click("#save summary")
    with page.expect_download() as download:
        page.click(f"#save [data-form={form}]")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    page.wait_for_function("() => element('spoken').textContent.startsWith('Saved: ')")
    assert page.text_content("#spoken") == f"Saved: {path.name}"
    assert page.locator("#save-menu").is_hidden()
    return path


def test_an_open_channel_is_saved(show, tmp_path):
    values = random_maps(5, 24, 32)
    values[2, 3, 4:7] = np.nan, np.inf, -np.inf
    page = show(make_maps(values), address="#channel=2&colours=viridis")
    path = saved(page, "npy", tmp_path)
    assert path.name == "photo.png_block1_conv1_channel_2_after_ReLU.npy"
    found = np.load(path)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(found, values[2])
    np.testing.assert_array_equal(np.loadtxt(saved(page, "csv", tmp_path), delimiter=",", dtype=np.float32), values[2])
    with Image.open(saved(page, "png", tmp_path)) as picture:
        assert picture.size == (512, 384)  # 16 pixels for each value
        pixels = np.asarray(picture.convert("RGB"), int)
    assert (pixels == pixels[::16, ::16].repeat(16, 0).repeat(16, 1)).all()
    finite = np.where(np.isfinite(values[2]), values[2], np.nan)
    low, high = (tuple(pixels[tuple(16 * np.argwhere(finite == end(finite))[0])]) for end in (np.nanmin, np.nanmax))
    assert (low, high) == ((0x44, 0x01, 0x54), (0xFD, 0xE7, 0x25))
    assert pixels[3 * 16, 4 * 16 : 7 * 16].tolist() == [[0xFF, 0x2F, 0xD0]] * 48


def test_the_channels_shown_are_saved_in_their_order(show, tmp_path):
    values = random_maps(9, 20, 30)
    page = show(make_maps(values, activation="none"), address="#filter=1-7&order=max")
    order = [n for n in np.argsort(-values.max(axis=(1, 2)), kind="stable").tolist() if 1 <= n <= 7]
    path = saved(page, "npy", tmp_path)
    assert path.name == "photo.png_block1_conv1_before_ReLU.npy"
    np.testing.assert_array_equal(np.load(path), values[order])
    lines = saved(page, "csv", tmp_path).read_text().splitlines()
    assert lines[0] == "channel,row,column,value"
    table = np.array([list(map(float, line.split(","))) for line in lines[1:]])
    rows, columns = np.indices((20, 30)).reshape(2, -1)
    assert table[:, 0].tolist() == np.repeat(order, 600).tolist()
    assert table[:, 1:3].tolist() == np.tile(np.stack([rows, columns], 1), (7, 1)).tolist()
    np.testing.assert_array_equal(table[:, 3].astype(np.float32), values[order].ravel())
    with Image.open(saved(page, "png", tmp_path)) as picture:
        assert picture.size == (6 * 92, 6 * 62)  # three by three tiles, a gap of 1 between
        mosaic = np.asarray(picture.convert("L"), int)[3::6, 3::6]
    with Image.open(saved(page, "gif", tmp_path)) as film:
        assert (film.n_frames, film.size, film.info["duration"], film.info["loop"]) == (7, (180, 120), 250, 0)
        frames = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(film)]
    for place, (channel, frame) in enumerate(zip(order, frames, strict=True)):
        low, high = values[channel].min(), values[channel].max()
        levels = (values[channel] - low) / (high - low) * 255
        assert (frame == frame[::6, ::6].repeat(6, 0).repeat(6, 1)).all()
        assert np.abs(frame[::6, ::6] - levels).max() <= 1
        top, left = place // 3 * 21, place % 3 * 31
        np.testing.assert_array_equal(
            mosaic[top + 4 : top + 20, left : left + 30], frame[::6, ::6][4:]
        )  # below its number


def test_the_menu_of_forms(show):
    page = show(make_maps(random_maps(3, 8, 8)))
    page.click("#save summary")
    page.wait_for_function("() => element('save-what').textContent === 'The 3 channels shown, in this order:'")
    page.keyboard.press("Escape")
    assert page.locator("#save-menu").is_hidden()
    assert page.evaluate("document.activeElement.localName") == "summary"
    page.keyboard.press("Enter")
    page.fill("#filter", "max > 1e9")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#save-forms button:visible:enabled").count() == 0
    page.mouse.click(5, 5)
    assert page.locator("#save-menu").is_hidden()


@pytest.mark.parametrize("address", ["", "#channel=1"])
def test_the_menu_fits_a_phone(open_file, address):
    content = render_page(make_maps(random_maps(3, 8, 8)))
    page = open_file(content, address, viewport=PHONE, is_mobile=True, has_touch=True)
    page.click("#save summary")
    page.wait_for_function("() => element('save-what').textContent && element('save-menu').style.left")
    box = page.locator("#save-menu").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def labels(page):
    return [int(text.split()[0]) for text in page.locator("#labels span").all_inner_texts()]


def alike_maps(groups, rows=20, columns=24):
    """Channels whose number modulo ``groups`` tells which ones are alike; the last one is the same everywhere."""
    generator = np.random.default_rng(7)
    shared = generator.normal(size=(groups, rows, columns))
    noise = generator.normal(size=(15, rows, columns))
    values = np.stack(
        [shared[n % groups] * (n + 1) + 0.3 * n * noise[n] for n in range(15)] + [np.ones((rows, columns))]
    )
    return values.astype(np.float32)


def test_channels_in_the_order_of_their_likeness_to_one(show):
    values = alike_maps(3)
    found = np.corrcoef(values[:15].reshape(15, -1).astype(float))
    page = show(make_maps(values, activation="none"), address="#channel=4")
    page.select_option("#order", label="like channel 4")
    settle(page)
    assert "Correlation with channel 4\n1.000" in page.inner_text("#numbers")
    page.keyboard.press("ArrowRight")
    settle(page)
    expected = [*np.argsort(-found[4], kind="stable").tolist(), 15]
    assert page.inner_text("h1").startswith(f"block1_conv1 - channel {expected[1]},")
    assert f"Correlation with channel 4\n{found[4, expected[1]]:.3f}" in page.inner_text("#numbers")
    assert_address(page, f"#channel={expected[1]}&order=like&like=4")
    page.select_option("#order", label=f"like channel {expected[1]}")
    page.keyboard.press("Escape")
    settle(page)
    assert labels(page) == [*np.argsort(-found[expected[1]], kind="stable").tolist(), 15]
    assert f"Ordered\nby correlation with channel {expected[1]}" in page.inner_text("#numbers")
    page.evaluate("location.hash = '#order=like&like=7&filter=0-9'")
    settle(page)
    assert labels(page) == [n for n in np.argsort(-found[7], kind="stable").tolist() if n < 10]


def test_clustered_channels_lie_with_those_that_are_like_them(show):
    page = show(make_maps(alike_maps(3), activation="none"), address="#order=clustered")
    order = labels(page)
    assert sorted(order) == list(range(16))
    assert order[-1] == 15  # the same everywhere: like nothing
    groups = [number % 3 for number in order[:-1]]
    assert sorted(groups[0:15:5]) == [0, 1, 2]
    assert groups == [group for group in groups[0:15:5] for _ in range(5)]
    page.select_option("#order", "index")
    settle(page)
    assert labels(page) == list(range(16))


def test_large_maps_are_compared_by_some_of_their_values(show):
    generator = np.random.default_rng(1)
    values = generator.normal(size=(3, 300, 320)).astype(np.float32)
    values[2] += values[0]
    page = show(make_maps(values, activation="none"), address="#order=like&like=0&channel=2")
    assert "Compared by\none value of 4" in page.inner_text("#numbers")
    sampled = values[[0, 2], ::2, ::2].reshape(2, -1).astype(float)
    assert f"Correlation with channel 0\n{np.corrcoef(sampled)[0, 1]:.3f}" in page.inner_text("#numbers")


def test_a_smooth_map_over_the_photo_is_as_opaque_as_its_values_are_high(show):
    values = np.maximum(random_maps(2, 6, 8), 0)
    values[1, 2, 3] = np.nan
    page = show(make_maps(values), address="#channel=0&opacity=50")
    page.check("#smooth")
    settle(page)
    assert_address(page, "#channel=0&opacity=50&smooth=1")
    source = page.locator("#panels .imagelayer image").nth(1).evaluate("(image) => image.href.baseVal")
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
        assert (picture.size, picture.mode) == ((32, 24), "RGBA")  # a pixel for each of the photo
        found = np.asarray(picture, float)
    share = values[0] / values[0].max()
    expected = np.asarray(Image.fromarray(share).resize((32, 24), Image.Resampling.BILINEAR))
    assert np.abs(found[..., 3] - 127.5 * expected).max() <= 1.5
    strong = expected > 0.5  # fainter colours are rounded by their opacity
    assert np.abs(found[..., :3] - 255 * expected[..., np.newaxis])[strong].max() <= 3
    page.evaluate("location.hash = '#channel=1&smooth=1'")
    settle(page)
    assert page.is_checked("#smooth")
    assert page.locator("#panels .hm image").count() == 2  # what is no number keeps its colour, over the map
    page.uncheck("#smooth")
    settle(page)
    assert page.locator("#panels .imagelayer image").count() == 1  # the photo beside alone
