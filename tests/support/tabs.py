"""Tabs of several browsers, all driven alike: Chromium and Firefox by Playwright, WebKitGTK by WebDriver."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
import warnings
from pathlib import Path

from support.processes import LONGEST_S

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FIREFOX = ("firefox-esr", "firefox")
MINI_BROWSER = "MiniBrowser"
LIBRARIES = ("/usr/lib", "/usr/libexec")

NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"

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


class WebDriverTab(Tab):
    def __init__(self, driver, folder):
        self._driver, self._folder = driver, folder
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
        self._driver.quit()


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
            self._launched[scheme] = self._type.launch(**self._options(scheme))
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


class WebKitGTK:
    """The library's own little browser, on a screen that nobody sees."""

    name = "webkitgtk"
    has_touch = has_paper = False

    def __init__(self):
        try:
            import selenium.webdriver
        except ImportError as error:
            raise Missing("Selenium is not installed: make browsers") from error
        advice = "apt-get install webkit2gtk-driver"
        self._selenium = selenium.webdriver
        self._driver_path = program(("WebKitWebDriver",), "FMEDGE_WEBKIT_DRIVER", advice)
        screen = program(("Xvfb",), "FMEDGE_XVFB", "apt-get install xvfb")
        self._browser_path = next(
            (path for folder in LIBRARIES for path in sorted(Path(folder).glob(f"**/webkit2gtk-4.*/{MINI_BROWSER}"))),
            None,
        )
        if self._browser_path is None:
            raise Missing(f"no {MINI_BROWSER} of WebKitGTK found: {advice}")
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
        assert not touch
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
        size = dict(viewport)
        for _ in range(2):  # the window is larger than the page in it
            driver.set_window_size(size["width"], size["height"])
            inner = driver.execute_script("return [innerWidth, innerHeight]")
            size["width"] += viewport["width"] - inner[0]
            size["height"] += viewport["height"] - inner[1]
        return WebDriverTab(driver, folder)

    def close(self):
        self._screen.terminate()
        self._screen.communicate()
