"""What researchers take out of a page: copied values; in headless Chromium."""

import numpy as np
import pytest

from fmedge.data.page_options import PageOptions
from fmedge.render.page import render_page
from support.page_samples import make_maps, random_maps
from support.viewports import DESKTOP

pytestmark = pytest.mark.browser


@pytest.fixture
def show(open_file):
    def open_page(maps, address="", **options):
        content = render_page(maps, options=PageOptions(values="float32"))
        return open_file(content, address, viewport=DESKTOP, **options)

    return open_page


def settle(page):
    page.wait_for_timeout(30)
    page.wait_for_selector("body[data-state=ready]")
    page.wait_for_timeout(30)


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
