"""Where values are on the screen, and what a page tells of them: by its elements alone, whatever drives the browser."""

import math
import re


def mosaic_point(tab, shape, place, row, column):
    """The middle of a value in the mosaic; ``place`` counts the tiles in the order shown."""
    channels, rows, columns = shape
    across = math.ceil(math.sqrt(channels))
    down = math.ceil(channels / across)
    gap = max(1, round(columns / 40))
    left, top, width, height = tab.box("#overview image")
    x = place % across * (columns + gap) + column + 0.5
    y = place // across * (rows + gap) + row + 0.5
    return left + x / (across * (columns + gap) - gap) * width, top + y / (down * (rows + gap) - gap) * height


def panel_point(tab, shape, row, column, number=0):
    """The middle of a value in an open channel, or in the panel of that number beside it."""
    _, rows, columns = shape
    name = f"x{number + 1}y{number + 1}" if number else "xy"
    left, top, width, height = tab.box(f"#panels .nsewdrag[data-subplot={name}]")
    return left + (column + 0.5) / columns * width, top + (row + 0.5) / rows * height


def told(text):
    """Channel, row, column, value and tolerance that a text tells; None where it tells none."""
    found = re.search(
        r"channel (\d+)\nrow (\d+), column (\d+)\nvalue (\S+)\n.*\u00b1(\S+)$", text.replace("\u2212", "-"), re.DOTALL
    )
    return found and (*map(int, found.groups()[:3]), *map(float, found.groups()[3:]))


def text_at(tab, point):
    """Point at a value and read the tooltip."""
    tab.move(1, 1)
    tab.wait("document.getElementById('tooltip').hidden")
    tab.move(*point)
    tab.wait("!document.getElementById('tooltip').hidden")
    return tab.text("#tooltip")


def read_at(tab, point):
    """Point at a value and read what the page tells of it."""
    return told(text_at(tab, point))


def assert_told(found, values, place):
    """The page told the value of that place, and a tolerance no larger than 12 bits of the channel's range."""
    channel = values[place[0]]
    assert found is not None
    *told_place, value, tolerance = found
    assert told_place == list(place)
    assert abs(value - float(values[place])) <= 1.01 * tolerance + 1e-6
    assert 0 < tolerance <= float(channel.max() - channel.min()) / 4000


def wait_title(tab, title):
    """Wait until the page shows what this title says."""
    tab.wait("document.getElementById('title').textContent === arguments[0]", title)
    tab.wait_ready()
