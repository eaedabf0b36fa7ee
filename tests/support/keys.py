"""What a reader does in a page that Playwright drives, and what the page does then."""


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
