"""The report page in a real browser: headless Chromium, driven by Playwright."""

import pytest
from test_page_in_browser import DESKTOP, PHONE, browser  # noqa: F401 - a fixture
from test_report import NAMES, poisoned

from fmedge.render.report import render_report
from support.measurements import measurement, report
from support.report_samples import rich_report, several

pytestmark = pytest.mark.browser


@pytest.fixture
def show(browser, tmp_path):  # noqa: F811
    """Open reports as a page; when the test ends, the page must have logged nothing and used no network."""
    complaints, requests, contexts = [], [], []

    def open_page(reports, viewport=DESKTOP, **options):
        path = tmp_path / "report.html"
        path.write_bytes(render_report(reports))
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


def drawn_texts(page, id_):
    return page.locator(f"#{id_} text").all_text_contents()


def test_charts_show_the_chosen_layer_and_machine(show):
    page = show(several())
    for name in ("trade", "times", "machines", "stages", "runs"):
        assert page.locator(f"#{name} .main-svg").count() > 0, name
        assert "block1_conv1" in page.get_attribute(f"#{name}", "aria-label")
    assert any("4.53 ms" in text for text in drawn_texts(page, "times"))
    assert page.locator("#trade .points path").count() == 8  # of nine rows, one has no accuracy
    assert "openvino, fp32/bf16" in page.inner_text("#unplaced")
    page.select_option("#task", "1")
    page.select_option("#machine", "1")
    page.wait_for_timeout(300)
    assert any("51.6 ms" in text for text in drawn_texts(page, "times"))
    assert "block3_conv3" in page.get_attribute("#times", "aria-label")
    assert page.locator("#staged").is_hidden()


def test_hover_tells_everything(show):
    page = show({"desk": rich_report()})
    page.locator("#trade .points path").first.hover(force=True)
    page.wait_for_selector("#trade .hovertext")
    text = page.text_content("#trade .hovertext")
    assert "p50" in text
    assert "SNR" in text


def column(page, number):
    return page.locator(f"#figures tbody tr:not(.missing) > :nth-child({number})").all_text_contents()


def test_the_table_sorts(show):
    page = show({"desk": rich_report()})
    button = page.locator("#figures th button", has_text="p50 ms")
    button.focus()
    page.keyboard.press("Enter")
    values = [float(text.rstrip(" !")) for text in column(page, 3)]
    assert values == sorted(values)
    assert page.locator("#figures th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.click()
    assert [float(text.rstrip(" !")) for text in column(page, 3)] == values[::-1]
    page.locator("#figures th button", has_text="SNR dB").click()
    found = column(page, 12)
    assert found[-2:] == ["\u2013", "\u2013"]
    assert [float(text) for text in found[:-2]] == sorted(float(text) for text in found[:-2])
    page.locator("#figures th button", has_text="choice").click()
    assert column(page, 2) == sorted(column(page, 2))
    assert page.locator("#figures tbody tr.missing").count() == 2
    assert "missing" in page.locator("#figures tbody tr").last.get_attribute("class")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(show, scheme):
    page = show(several(), PHONE, is_mobile=True, has_touch=True, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sides = page.evaluate(
        "[...document.querySelectorAll('h1, figure, .plot .main-svg, .wide, .card, select, .warning')]"
        ".map((each) => each.getBoundingClientRect()).flatMap((box) => [box.left, box.right])"
    )
    assert min(sides) >= 0
    assert max(sides) <= PHONE["width"]


def test_dark_follows_the_system_and_paper_is_light(show):
    page = show({"desk": rich_report()})
    inks = []
    for settings in ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"media": "print"}):
        page.emulate_media(**settings)
        page.wait_for_timeout(400)
        inks.append(page.locator("#trade .xtick text").first.evaluate("(text) => getComputedStyle(text).fill"))
    light, dark, paper = (sum(map(int, ink.removeprefix("rgb(").rstrip(")").split(","))) for ink in inks)
    assert light < dark > paper
    assert page.locator("#trade .main-svg").first.bounding_box()["width"] == 670


def test_names_from_outside_are_shown_as_they_are(show):
    name = "".join(NAMES[:-1]).replace("\x00", "")
    page = show({name: poisoned(name), f"{name}2": poisoned(name)})
    assert name in page.text_content("h1")
    assert page.locator("h1 *, td :not(b, code), option *").count() == 0
    assert any(text.startswith(name[:20]) for text in drawn_texts(page, "times"))
    assert page.locator("script").count() == 4  # data, plotly.js packed, the page's own, plotly.js running


def test_a_report_without_figures_says_so(show):
    page = show({"desk": report()})
    assert "Nothing was measured." in page.inner_text("main")
    assert page.locator("#charts").is_hidden()


def test_one_row_is_enough(show):
    page = show({"desk": report(measurement())})
    assert "their accuracy was not measured: onnxruntime, fp32." in page.inner_text("#unplaced")
    assert any("ms" in text for text in drawn_texts(page, "times"))
