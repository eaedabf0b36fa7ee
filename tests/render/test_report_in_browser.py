"""The report page in a real browser: headless Chromium, driven by Playwright."""

import pytest

from fmedge.render.report import render_report
from fmedge.render.report_tables import COLUMNS
from support.measurements import measurement, report
from support.report_samples import HOSTILE_NAMES, drawn, energetic_report, parity, poisoned_report, rich_report, several
from support.viewports import DESKTOP, PHONE

pytestmark = pytest.mark.browser


@pytest.fixture
def show(open_file):
    """Open reports as a page."""
    return lambda reports, viewport=DESKTOP, **options: open_file(render_report(reports), viewport=viewport, **options)


def drawn_texts(page, id_):
    return page.locator(f"#{id_} text").all_text_contents()


def described(page, id_):
    return page.get_attribute(f"#{id_} [role=img]", "aria-label")


def test_charts_show_the_chosen_layer_and_machine(show):
    page = show(several())
    for name in ("trade", "times", "machines", "stages", "runs"):
        assert page.locator(f"#{name} .main-svg").count() > 0, name
        assert "block1_conv1" in described(page, name)
    assert any("4.53 ms" in text for text in drawn_texts(page, "times"))
    assert page.locator("#trade .points path").count() == 8  # of nine rows, one has no accuracy
    assert "openvino, fp32/bf16" in page.inner_text("#unplaced")
    page.select_option("#task", "1")
    page.select_option("#machine", "1")
    page.wait_for_timeout(300)
    assert any("51.6 ms" in text for text in drawn_texts(page, "times"))
    assert "block3_conv3" in described(page, "times")
    assert page.locator("#staged").is_hidden()


def test_energy_and_heat_are_drawn_where_they_are_known(show):
    page = show({"pi": energetic_report(), "desk": rich_report()})
    assert "openvino, int8 0.02" in described(page, "energy")
    assert "pi 45 to 83.1" in described(page, "heat")
    assert page.locator("#heat .points path").count() == 2  # when it was slowed down
    assert page.inner_text("#unheated") == "No temperature is known of: desk."
    assert "J/image" in heads(page)
    assert overflow(page) == 0
    page.select_option("#machine", "1")
    page.wait_for_timeout(300)
    assert page.locator("#energetic").is_hidden()
    page = show({"desk": rich_report()})
    assert page.locator("#heated").is_hidden()


def test_hover_tells_everything(show):
    page = show({"desk": rich_report()})
    page.locator("#trade .points path").first.hover(force=True)
    page.wait_for_selector("#trade .hovertext")
    text = page.text_content("#trade .hovertext")
    assert "p50" in text
    assert "SNR" in text


def column(page, number):
    return page.locator(f"#figures tbody tr > :nth-child({number})").all_text_contents()


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
    page.locator("#gaps th button", has_text="choice").click()
    assert page.locator("#gaps tbody td:nth-child(2)").all_text_contents() == ["litert, fp16", "ncnn, int8"]


def heads(page):
    return page.locator("#figures th button:visible").all_inner_texts()


@pytest.mark.parametrize("reports", [{"desk": rich_report()}, several()], ids=["one machine", "three"])
def test_tables_fit_a_screen_and_a_phone(show, reports):
    page = show(reports)
    sets = page.locator("#columns option").evaluate_all("(all) => all.map((each) => each.value)")
    names = ["machine"] * (len(reports) > 1) + ["layer", "choice"]
    main = ["p50 ms", "p90 ms", "images/s", "of limit %", "SNR dB", "memory MB", "model MB", "doubts"]
    assert heads(page) == names + main
    seen = set()
    for name in sets:
        page.select_option("#columns", name)
        if name != "all":
            assert "p50 ms" in heads(page)
            assert overflow(page) == 0, name
            seen |= set(heads(page))
    assert set(heads(page)) == seen
    assert len(heads(page)) == len(names) + len(COLUMNS) + 4
    page = show(reports, PHONE, is_mobile=True, has_touch=True)
    assert heads(page) == [*names, "p50 ms", "SNR dB"]
    assert overflow(page) == 0
    page.emulate_media(media="print")
    page.wait_for_timeout(400)
    assert heads(page) == names + main
    assert page.locator("#columns").is_hidden()


def overflow(page):
    """By how much the widest table is wider than its place, in CSS pixels."""
    return page.evaluate(
        "Math.max(...[...document.querySelectorAll('.wide')].map((each) => each.scrollWidth - each.clientWidth))"
    )


LEVELS = {"alike": (139.0, 141.9, 139.3), "equal": (140.0, 140.0, 140.0), "apart": (33.7, 71.5, 131.2)}


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
def test_the_axis_of_accuracy_follows_the_values(show, levels):
    rows = [
        measurement(backend=name, parity=parity("fp32", level), turns=drawn(seed, 0.01 * (1 + seed)))
        for seed, (name, level) in enumerate(zip(("onnxruntime", "ncnn", "litert"), levels, strict=True))
    ]
    page = show({"desk": report(*rows)})
    low, high = page.evaluate("document.getElementById('trade').layout.yaxis.range")
    assert low < min(levels) <= max(levels) < high
    assert high - low == pytest.approx(max(20.0, 1.3 * (max(levels) - min(levels))))
    assert low + high == pytest.approx(min(levels) + max(levels))
    frame = page.locator("#trade .plot .gridlayer, #trade .bglayer").first.evaluate(
        "() => { const [y] = [document.getElementById('trade')._fullLayout._size]; return [y.t, y.t + y.h]; }"
    )
    plot = page.locator("#trade").bounding_box()["y"]
    for box in [mark.bounding_box() for mark in page.locator("#trade .points path").all()]:
        assert frame[0] <= box["y"] - plot
        assert box["y"] + box["height"] - plot <= frame[1]


@pytest.mark.parametrize(
    "reports", [{"desk": rich_report()}, several(), {"desk": report()}], ids=["one", "three", "none"]
)
def test_what_assistive_technology_is_told(show, reports):
    """A name only where one is allowed, nothing to press inside a picture, and regions that differ by name."""
    page = show(reports)
    assert page.locator("p[aria-label], span[aria-label], div[aria-label]:not([role])").count() == 0
    assert page.locator("[role=img] :is(a, button, input, select, [tabindex])").count() == 0
    drawings = page.locator(".js-plotly-plot").count()
    assert page.locator(".js-plotly-plot .main-svg[role=img][aria-label]").count() == drawings
    assert page.locator(".js-plotly-plot .main-svg:not([role=img]):not([aria-hidden=true])").count() == 0
    names = page.evaluate(
        "[...document.querySelectorAll('section[aria-labelledby], [role=region]')].map((each) =>"
        " each.ariaLabel ?? document.getElementById(each.getAttribute('aria-labelledby')).textContent)"
    )
    assert sorted(set(names)) == sorted(names)
    assert bool(page.locator("ul.legend[aria-label] > li").count()) == bool(drawings)
    button = page.locator("#trade .modebar-btn").first
    if drawings:
        button.focus()
        assert page.locator("#trade .modebar").first.evaluate("(each) => getComputedStyle(each).opacity") == "1"


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
    name = "".join(HOSTILE_NAMES[:-1]).replace("\x00", "")
    page = show({name: poisoned_report(name), f"{name}2": poisoned_report(name)})
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
