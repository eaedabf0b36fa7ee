"""Tabs of browsers, all driven alike: here Chromium and Firefox by Playwright; `webkit_tabs` has WebKitGTK."""

from __future__ import annotations

import os
import shutil
import time

from support.processes import LONGEST_S

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FIREFOX = ("firefox-esr", "firefox")

UNKNOWN = "unknown command"
"""What a Firefox says that is older than the protocol by which Playwright drives it."""

NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


class Missing(Exception):
    """A browser, or what drives it, is not here; the message says what to install."""


def program(names, variable, advice):
    """Find a program, or say how to get it."""
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise Missing(f"no {names[0]} found: {advice}, or name it in {variable}")
    return found


class Tab:
    """What the drivers have in common. Points are CSS pixels of the page, or of the frame that was entered."""

    def wait(self, condition, *arguments):
        """Wait until a JavaScript expression is true, and return its value."""
        ends = time.monotonic() + LONGEST_S
        while not (found := self.evaluate(f"return {condition}", *arguments)):
            assert time.monotonic() < ends, f"{condition} never came true; #status: {self.text('#status')}"
            time.sleep(0.02)
        return found

    def wait_complaints(self, count=1):
        """Wait until the page has complained so often, and return of what."""
        ends = time.monotonic() + LONGEST_S
        while len(found := self.complaints) < count:
            assert time.monotonic() < ends, f"heard: {found}"
        return found

    def wait_ready(self):
        """Wait until the page is drawn."""
        self.wait("['ready', 'failed'].includes(document.body?.dataset.state)")
        assert self.evaluate("return document.body.dataset.state") == "ready", self.text("#status")

    def text(self, selector):
        """The text of an element, as written; None where there is none."""
        return self.evaluate("return document.querySelector(arguments[0])?.textContent", selector)

    def box(self, selector):
        """Left, top, width and height of an element."""
        return self.evaluate(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height]",
            selector,
        )

    def back(self):
        """What the browser's own button does; drivers wait for a page to load, which none does here."""
        self.evaluate("history.back()")

    def click_on(self, selector):
        left, top, width, height = self.box(selector)
        self.click(left + width / 2, top + height / 2)


class PlaywrightTab(Tab):
    def __init__(self, context, folder):
        self._context, self._folder = context, folder
        self._page = context.new_page()
        self._frame, self._element = self._page.main_frame, None
        self._complaints = []
        self._page.on("console", lambda message: self._complaints.append(f"{message.text} ({message.location['url']})"))
        self._page.on("pageerror", lambda error: self._complaints.append(f"{error} ({error.stack})"))

    @property
    def complaints(self):
        """What the page has complained of so far."""
        self._page.evaluate("0")  # Playwright hears nothing between two calls
        return self._complaints

    def open(self, content, address=""):
        path = self._folder / "page.html"
        path.write_bytes(content)
        self.visit(path.as_uri() + address)

    def visit(self, address):
        self._page.goto(address)

    def evaluate(self, script, *arguments):
        return self._frame.evaluate(f"(given) => (function () {{ {script} }}).apply(null, given)", list(arguments))

    def enter(self, selector):
        """Go into a frame: scripts run there, and points are the frame's."""
        self._element = self._page.wait_for_selector(selector, timeout=1000 * LONGEST_S)
        self._element.scroll_into_view_if_needed()
        self._frame = self._element.content_frame()

    def _point(self, x, y):
        if self._element is None:
            return x, y
        left, top = self._element.evaluate(
            "(frame) => { const box = frame.getBoundingClientRect();"
            "return [box.left + frame.clientLeft, box.top + frame.clientTop]; }"
        )
        return x + left, y + top

    def move(self, x, y):
        self._page.mouse.move(*self._point(x, y))

    def click(self, x, y):
        self._page.mouse.click(*self._point(x, y))

    def tap(self, x, y):
        self._page.touchscreen.tap(*self._point(x, y))

    def press(self, *keys):
        for key in keys:
            self._page.keyboard.press(key)

    def choose(self, selector, value):
        self._frame.select_option(selector, value)

    def screenshot(self):
        return self._page.screenshot()

    def paper(self):
        """The page as printed: a PDF file of A4 pages."""
        return self._page.pdf(format="A4")

    def close(self):
        self._context.close()


class Playwright:
    """Chromium or Firefox, headless. Firefox gets its colours when it starts: each scheme is a Firefox of its own."""

    has_paper = True

    def __init__(self, driver, name):
        self.has_touch = name == "chromium"
        self.name, self._type = name, driver.chromium if name == "chromium" else driver.firefox
        self._launched = {}
        self.version = self._browser("light").version

    def _browser(self, scheme):
        if self.name == "chromium":
            scheme = "any"
        if scheme not in self._launched:
            try:
                self._launched[scheme] = self._type.launch(**self._options(scheme))
            except Exception as error:
                if UNKNOWN not in str(error):
                    raise
                advice = f"apt-get update, then apt-get install {self.name}-esr"
                raise Missing(f"this {self.name} is too old for Playwright: {advice}") from error
        return self._launched[scheme]

    def _options(self, scheme):
        if self.name == "chromium":
            root = hasattr(os, "geteuid") and os.geteuid() == 0  # root has no sandbox
            path = program(CHROMIUM, "FMEDGE_CHROMIUM", "apt-get install chromium")
            return {"executable_path": path, "args": ["--disable-gpu", NO_NETWORK, *(["--no-sandbox"] if root else [])]}
        return {
            "executable_path": program(FIREFOX, "FMEDGE_FIREFOX", "apt-get install firefox-esr"),
            "channel": "moz-firefox",  # the browser as it is sold, by WebDriver BiDi
            "firefox_user_prefs": {"layout.css.prefers-color-scheme.content-override": int(scheme == "light")},
        }

    @staticmethod
    def heard(content):
        """The page as it is: Playwright hears what it complains of."""
        return content

    def open_tab(self, folder, scheme, viewport, *, touch=False):
        options = {"color_scheme": scheme} if self.name == "chromium" else {}
        context = self._browser(scheme).new_context(viewport=viewport, has_touch=touch, **options)
        return PlaywrightTab(context, folder)

    def close(self):
        for browser in self._launched.values():
            browser.close()
