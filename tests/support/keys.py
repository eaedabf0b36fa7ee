"""What a reader does in a page that Playwright drives, and what the page does then."""

import re


def settle(page):
    """Wait until the latest choice is drawn."""
    page.wait_for_timeout(30)
    page.wait_for_selector("body[data-state=ready]")
    page.wait_for_timeout(30)


def press(page, *keys):
    """Press keys, one after the other, each when the one before is drawn."""
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def assert_address(page, expected):
    """The part of the address after # becomes what is expected, which state.js writes at most 150 ms later.

    expected: The text, or a compiled pattern that matches all of it.
    """
    for _ in range(50):
        address = page.evaluate("location.hash")
        if address == expected or (isinstance(expected, re.Pattern) and expected.fullmatch(address)):
            return
        page.wait_for_timeout(40)
    assert address == expected
