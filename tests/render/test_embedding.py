"""A page inside another: the snippet, and how it works in headless Chromium."""

from html.parser import HTMLParser

import numpy as np
import pytest

import fmedge
from fmedge.errors import UsageError
from fmedge.render.page import render_page
from support.page_samples import HOSTILE, make_maps, poisoned_maps, random_maps
from support.viewports import DESKTOP


class Tags(HTMLParser):
    """All tags with their attributes, as a browser reads them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["photo", *HOSTILE])
def test_the_frame_holds_the_very_page(name):
    maps = poisoned_maps(name)
    ((tag, frame),) = Tags(fmedge.embed(maps, height=500)).found
    assert tag == "iframe"
    assert frame["srcdoc"] == render_page(maps).decode()
    assert set(frame) == {"title", "width", "height", "sandbox", "style", "srcdoc"}
    assert (frame["width"], frame["height"], frame["sandbox"]) == ("100%", "500", "allow-scripts allow-downloads")
    assert name in frame["title"]


def test_options_reach_the_page():
    maps = make_maps(random_maps(4, 6, 6))
    options = fmedge.PageOptions(values="float32")
    ((_, frame),) = Tags(fmedge.embed([maps], channel=2, options=options)).found
    assert frame["srcdoc"] == render_page(maps, channel=2, options=options).decode()


@pytest.mark.parametrize("height", [0, -3, 1.5, True])
def test_a_height_is_a_whole_number_from_1(height):
    with pytest.raises(UsageError, match="height"):
        fmedge.embed(make_maps(random_maps(1, 2, 2)), height=height)


def test_a_page_in_a_page_has_no_folder_for_plotly():
    with pytest.raises(UsageError, match="has no folder"):
        fmedge.embed(make_maps(random_maps(1, 2, 2)), options=fmedge.PageOptions(plotlyjs="file"))


@pytest.mark.browser
def test_in_a_page_of_somebody_elses(browser, tmp_path):
    values = random_maps(4, 24, 32)
    maps = make_maps(values, image_name='"it\'s" </script><script>alert(1)</script> &amp; &lt;.png')
    snippet = fmedge.embed(maps, options=fmedge.PageOptions(values="float32"))
    outside = f'<!DOCTYPE html><meta charset="utf-8"><body><h1>Notebook</h1>{snippet}<p id="after">after</p>'
    (tmp_path / "notebook.html").write_text(outside, encoding="utf-8")
    page = browser.new_page(viewport=DESKTOP)
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "notebook.html").as_uri())
    inside = page.frames[1]
    inside.wait_for_selector("body[data-state=ready]")
    assert inside.inner_text("#subtitle").startswith(maps.provenance.image_name)
    box = page.locator("iframe").bounding_box()
    assert box["width"] > DESKTOP["width"] - 30
    assert page.inner_text("#after") == "after"

    tile = inside.locator("#overview image").bounding_box()
    page.mouse.click(tile["x"] + tile["width"] * 0.75, tile["y"] + tile["height"] * 0.25)  # the second of two by two
    inside.wait_for_selector("body[data-view=channel][data-state=ready]")
    assert "channel 1" in inside.inner_text("h1")
    panel = inside.locator("#panels .nsewdrag[data-subplot=xy]").bounding_box()
    page.mouse.move(panel["x"] + 10.5 / 32 * panel["width"], panel["y"] + 7.5 / 24 * panel["height"])
    inside.wait_for_selector("#tooltip", state="visible")
    inside.wait_for_function("() => element('tooltip').textContent.includes('row 7, column 10')")
    value = inside.inner_text("#tooltip").replace("\u2212", "-").split("value ")[1].split()[0]
    assert float(value) == pytest.approx(values[1, 7, 10], rel=1e-6)

    inside.click("#save summary")
    with page.expect_download() as download:
        inside.click("#save [data-form=npy]")
    download.value.save_as(tmp_path / "saved.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "saved.npy"), values[1])
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:", "file:", "about:"))] == []
    page.close()
