"""Tabs of WebKitGTK, driven by WebDriver as those of `tabs` are."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

from support.processes import LONGEST_S
from support.tabs import Missing, Tab, program

MINI_BROWSER = "MiniBrowser"
LIBRARIES = ("/usr/lib", "/usr/libexec")
ATTEMPTS = 3

LISTENER = (
    "<script>window.complaints = [];"
    "addEventListener('error', (event) => complaints.push(event.message ?? 'something was not loaded'), true);"
    "addEventListener('unhandledrejection', (event) => complaints.push(String(event.reason)));"
    "addEventListener('securitypolicyviolation', (event) => complaints.push(`refused: ${event.violatedDirective}`));"
    "for (const name of ['error', 'warn', 'log']) {"
    " const said = console[name];"
    " console[name] = (...words) => { complaints.push(words.join(' ')); said.apply(console, words); };"
    "}</script>"
)
"""Collects a page's complaints where the driver does not tell them. It stands before the page's policy."""


class WebDriverTab(Tab):
    def __init__(self, driver, folder, leave):
        self._driver, self._folder, self._leave = driver, folder, leave
        self._element = None

    def open(self, content, address=""):
        path = self._folder / "page.html"
        path.write_bytes(WebKitGTK.heard(content))
        self.visit(path.as_uri() + address)

    def visit(self, address):
        self._driver.get(address)

    @property
    def version(self):
        return self._driver.capabilities["browserVersion"]

    @property
    def complaints(self):
        return self.evaluate("return window.complaints ?? []")

    def evaluate(self, script, *arguments):
        return self._driver.execute_script(script, *arguments)

    def enter(self, selector):
        self.wait("document.querySelector(arguments[0])", selector)
        self._element = self._driver.find_element("css selector", selector)
        self._driver.switch_to.frame(self._element)

    def _perform(self, kind, x, y, *, press):
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        if self._element is not None:
            self._driver.switch_to.default_content()
            left, top = self.evaluate(
                "const box = arguments[0].getBoundingClientRect();"
                "return [box.left + arguments[0].clientLeft, box.top + arguments[0].clientTop]",
                self._element,
            )
            x, y = x + left, y + top
        actions = ActionBuilder(self._driver, mouse=PointerInput(kind, kind), duration=0)
        actions.pointer_action.move_to_location(int(x), int(y))
        if press:
            actions.pointer_action.pointer_down().pointer_up()
        actions.perform()
        if self._element is not None:
            self._driver.switch_to.frame(self._element)

    def move(self, x, y):
        self._perform("mouse", x, y, press=False)

    def click(self, x, y):
        self._perform("mouse", x, y, press=True)

    def press(self, *keys):
        from selenium.webdriver import ActionChains, Keys

        named = {
            "ArrowLeft": Keys.ARROW_LEFT,
            "ArrowRight": Keys.ARROW_RIGHT,
            "ArrowUp": Keys.ARROW_UP,
            "ArrowDown": Keys.ARROW_DOWN,
            "Enter": Keys.ENTER,
            "Escape": Keys.ESCAPE,
            "Tab": Keys.TAB,
        }
        for key in keys:
            ActionChains(self._driver, duration=0).send_keys(named.get(key, key)).perform()

    def choose(self, selector, value):
        from selenium.webdriver.support.select import Select

        Select(self._driver.find_element("css selector", selector)).select_by_value(value)

    def screenshot(self):
        return base64.b64decode(self._driver.get_screenshot_as_base64())

    def close(self):
        self._driver.switch_to.default_content()
        self._driver.get("about:blank")
        self._leave(self._driver)


class WebKitGTK:
    """The library's own little browser, on a screen that nobody sees."""

    name = "webkitgtk"
    has_touch = has_paper = False

    def __init__(self):
        try:
            import selenium.webdriver
            import urllib3
        except ImportError as error:
            raise Missing("Selenium is not installed: make browsers") from error
        advice = "apt-get install webkit2gtk-driver"
        self._selenium, self._no_answer = selenium.webdriver, urllib3.exceptions.HTTPError
        self._driver_path = program(("WebKitWebDriver",), "FMEDGE_WEBKIT_DRIVER", advice)
        screen = program(("Xvfb",), "FMEDGE_XVFB", "apt-get install xvfb")
        self._browser_path = next(
            (path for folder in LIBRARIES for path in sorted(Path(folder).glob(f"**/webkit2gtk-4.*/{MINI_BROWSER}"))),
            None,
        )
        if self._browser_path is None:
            raise Missing(f"no {MINI_BROWSER} of WebKitGTK found: {advice}")
        self._idle = {}
        self._screen = subprocess.Popen(
            [screen, "-displayfd", "1", "-screen", "0", "2000x2000x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self._display = f":{self._screen.stdout.readline().strip()}"
            tab = self.open_tab(Path(), "light", {"width": 800, "height": 600})
            self.version = tab.version
            tab.close()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def heard(content):
        """The page with what makes its complaints heard."""
        head = b'<meta charset="utf-8">'
        assert content.count(head) == 1
        return content.replace(head, head + LISTENER.encode())

    def open_tab(self, folder, scheme, viewport, *, touch=False):
        """Open a tab, in a browser whose former tab was closed where there is one: it is slow to start."""
        assert not touch
        idle = self._idle.setdefault(scheme, [])
        driver = idle.pop() if idle else self._start(scheme)
        size = dict(viewport)
        for _ in range(2):  # the window is larger than the page in it
            driver.set_window_size(size["width"], size["height"])
            inner = driver.execute_script("return [innerWidth, innerHeight]")
            size["width"] += viewport["width"] - inner[0]
            size["height"] += viewport["height"] - inner[1]
        return WebDriverTab(driver, folder, idle.append)

    def _start(self, scheme):
        """Start a browser; where it does not answer, which happens to a busy machine, another."""
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(LONGEST_S / 2)
        try:
            for _ in range(ATTEMPTS - 1):
                with suppress(self._no_answer):
                    return self._start_once(scheme)
            return self._start_once(scheme)
        finally:
            socket.setdefaulttimeout(before)

    def _start_once(self, scheme):
        options = self._selenium.WebKitGTKOptions()
        options.binary_location = str(self._browser_path)
        options.add_argument("--automation")
        theme = "Adwaita:dark" if scheme == "dark" else "Adwaita"
        environment = {**os.environ, "DISPLAY": self._display, "GTK_THEME": theme, "GDK_BACKEND": "x11"}
        service = self._selenium.WebKitGTKService(self._driver_path, env=environment)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Selenium warns of a way that it takes itself
            driver = self._selenium.WebKitGTK(options=options, service=service)
        driver.set_page_load_timeout(LONGEST_S)
        driver.command_executor.client_config.timeout = 2 * LONGEST_S
        return driver

    def close(self):
        for driver in [driver for idle in self._idle.values() for driver in idle]:
            driver.quit()
        self._screen.terminate()
        self._screen.communicate()
