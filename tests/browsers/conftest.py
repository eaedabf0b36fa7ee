"""The browsers that are here, and pages opened in them."""

from __future__ import annotations

import pytest

from support.tabs import Missing, Playwright
from support.viewports import DESKTOP
from support.webkit_tabs import WebKitGTK


@pytest.fixture(scope="session")
def engines():
    """Start a browser by its name, once; skip the test where it is not here."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make browsers")
    started = {}
    with sync_api.sync_playwright() as driver:

        def start(name):
            if name not in started:
                try:
                    started[name] = WebKitGTK() if name == "webkitgtk" else Playwright(driver, name)
                except Missing as missing:
                    started[name] = missing
            if isinstance(started[name], Missing):
                pytest.skip(str(started[name]))
            return started[name]

        yield start
        for each in started.values():
            if not isinstance(each, Missing):
                each.close()


@pytest.fixture(scope="session", params=["chromium", "firefox", "webkitgtk"])
def engine(request, engines):
    return engines(request.param)


@pytest.fixture
def opener(tmp_path):
    """Open pages in one browser; when the test ends, none of them may have complained."""
    tabs = []

    def opening(engine):
        def open_page(content, address="", scheme="light", viewport=DESKTOP, touch=False):
            tab = engine.open_tab(tmp_path, scheme, viewport, touch=touch)
            tabs.append(tab)
            tab.open(content, address)
            return tab

        return open_page

    yield opening
    try:
        assert [complaint for tab in tabs for complaint in tab.complaints] == []
    finally:
        for tab in tabs:
            tab.close()


@pytest.fixture
def open_page(opener, engine):
    return opener(engine)


@pytest.fixture
def open_in_chromium(opener, engines):
    return opener(engines("chromium"))
