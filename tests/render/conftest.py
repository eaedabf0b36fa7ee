"""A headless Chromium, driven by Playwright, and pages opened in it."""

from __future__ import annotations

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


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
def open_file(browser, tmp_path):
    """Open the content of a page; when the test ends, the page must have been silent and without network."""
    complaints, requests, contexts = [], [], []

    def open_page(content, address="", **options):
        path = tmp_path / "page.html"
        path.write_bytes(content)
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + address)
        page.wait_for_selector("body[data-state=ready], body[data-state=failed]")
        assert page.get_attribute("body", "data-state") == "ready", page.inner_text("#status")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:", tmp_path.as_uri()))] == []
