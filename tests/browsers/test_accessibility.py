"""Every page by axe-core, light and dark, on a desk and on a phone; and its HTML by the Nu HTML Checker."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.all_pages import PAGES, VIEWS
from support.viewports import DESKTOP, PHONE

pytestmark = pytest.mark.browsers

MODULES = Path(sys.prefix) / "node" / "node_modules"
page_named = cache(lambda name: PAGES[name]())


def from_npm(path):
    found = MODULES / path
    if not found.exists():
        pytest.skip(f"{found.name} is not installed: make browsers")
    return found


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(open_in_chromium, view, scheme, viewport):
    name, address = VIEWS[view]
    tab = open_in_chromium(page_named(name), address, scheme, viewport, touch=viewport is PHONE)
    tab.wait_ready()
    if name == "difference":
        tab.evaluate("document.querySelectorAll('.below').forEach((folded) => { folded.open = true; })")
        tab.wait("document.querySelector('#pairs .heatmaplayer image') && document.querySelector('#channel-rows tr')")
    tab.evaluate(from_npm("axe-core/axe.min.js").read_text())
    found = tab.evaluate("return axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10
    assert described(found["violations"]) == []


def described(violations):
    return [
        f"{each['id']}: {node['target'][0]}: {node['failureSummary'].splitlines()[-1].strip()}"
        for each in violations
        for node in each["nodes"]
    ]


def test_axe_finds_something(open_in_chromium):
    """A picture without a description and grey on grey, in a page as ours."""
    page = page_named("grid").replace(b"<body>", b'<body><img src="data:,"><p style="color: #aaa">pale</p>', 1)
    tab = open_in_chromium(page)
    tab.evaluate(from_npm("axe-core/axe.min.js").read_text())
    found = tab.evaluate("return axe.run(document, { resultTypes: ['violations'] })")
    assert {"image-alt", "color-contrast"} <= {each["id"] for each in found["violations"]}


NOT_MEANT = {
    "violates Content Security Policy": "the checker blocks blocks of data, which no browser runs, and knows no hashes",
}
"""What the checker says of pages that are right, and why they are."""


def checked(*paths):
    """What the Nu HTML Checker says of files: (file, message, extract)."""
    if shutil.which("java") is None:
        pytest.skip("no java found, which the HTML checker needs: apt-get install default-jre-headless")
    words = [
        "java",
        "-jar",
        from_npm("vnu-jar/build/dist/vnu.jar"),
        "--format",
        "json",
        "--stdout",
        "--exit-zero-always",
    ]
    done = subprocess.run([*words, *paths], capture_output=True, check=True, timeout=300)
    return [
        (Path(unquote(each["url"])).stem, each["message"], each.get("extract", ""))
        for each in json.loads(done.stdout)["messages"]
    ]


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """What the checker says of each page; all in one go, as it takes long to start."""
    folder = tmp_path_factory.mktemp("pages")
    for name in PAGES:
        (folder / f"{name}.html").write_bytes(page_named(name))
    found = checked(*folder.iterdir())
    return {name: [each[1:] for each in found if each[0] == name] for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_the_html_is_valid(messages, name):
    assert [each for each in messages[name] if not any(text in each[0] for text in NOT_MEANT)] == []


def test_the_checker_finds_something(tmp_path):
    path = tmp_path / "wrong.html"
    path.write_bytes(page_named("grid").replace(b"</body>", b"<p><div id=plot></p></body>", 1))
    said = " ".join(message for _, message, _ in checked(path))
    assert "Duplicate ID" in said
    assert "No “p” element in scope" in said or 'No "p" element in scope' in said
