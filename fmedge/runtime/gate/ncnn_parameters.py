"""Read the parameters of a layer in an ncnn graph, ``0=64`` or ``-23310=2,0.0,6.0``, as strictly as its kind allows.

ncnn takes a number for a float where it is written with a point or an exponent, and keeps the bits of a whole number
where it wants a float. So what is no float here is refused, apart from 0, whose bits are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_WHOLE = re.compile(r"-?[0-9]{1,9}|2147483647")
_FLOAT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?(e[+-]?[0-9]{1,2})?")

_LARGEST = (2 - 2**-23) * 2.0**127
"""The largest float32."""

_LIST = 23300
"""A list is parameter -23300 minus its number: the number of its values, then they."""

_MOST_LISTED = 1 << 10
"""Most values in a list."""


class Float(NamedTuple):
    """Allows a finite number.

    Attributes:
        least: The least one allowed.
        most: The largest one allowed.
    """

    least: float = -_LARGEST
    most: float = _LARGEST


class Wholes(NamedTuple):
    """Allows a list of whole numbers."""

    each: range


class Floats(NamedTuple):
    """Allows a list of finite numbers."""


class Text(NamedTuple):
    """Allows text in quotes that is of a form."""

    form: re.Pattern[str]


Allowed = range | Float | Wholes | Floats | Text
"""What a parameter may be; a range is that of a whole number."""


class Parameters(NamedTuple):
    """The parameters of a layer, by number and by what they are."""

    wholes: dict[int, int]
    floats: dict[int, float]
    lists: dict[int, list[int]]
    float_lists: dict[int, list[float]]
    texts: dict[int, str]

    def whole(self, number: int, default: int = 0) -> int:
        """Return a whole number, or what ncnn takes where it is left out."""
        return self.wholes.get(number, default)


def read_parameters(words: Sequence[str], needed: Mapping[int, Allowed], optional: Mapping[int, Allowed]) -> Parameters:
    """Read the parameters of one layer.

    Args:
        words: Those of its line that follow the tensors.
        needed: What must be there, and what it may be.
        optional: What may be there.

    Raises:
        ValueError: A parameter is not allowed, or one is missing; the message says which.
    """
    found = Parameters({}, {}, {}, {}, {})
    seen = set[int]()
    for word in words:
        key, _, value = word.partition("=")
        number = _number(key)
        allowed = needed.get(number, optional.get(number))
        listed = isinstance(allowed, (Wholes, Floats))
        good = allowed is not None and number not in seen and listed == key.startswith("-")
        if not good or allowed is None or not _take(found, number, allowed, value):
            raise ValueError(f"a wrong parameter '{word[:20]}'")
        seen.add(number)
    if not set(needed) <= seen:
        raise ValueError("")
    return found


def _number(key: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}|-233[0-9]{2}", key):
        return -1
    return -int(key) - _LIST if key.startswith("-") else int(key)


def _take(found: Parameters, number: int, allowed: Allowed, value: str) -> bool:
    """Record one parameter; return False where it is not allowed."""
    if isinstance(allowed, range):
        whole = _whole(value)
        found.wholes[number] = whole or 0
        return whole is not None and whole in allowed
    if isinstance(allowed, Float):
        real = _float(value)
        found.floats[number] = real or 0.0
        return real is not None and allowed.least <= real <= allowed.most
    if isinstance(allowed, Text):
        found.texts[number] = value[1:-1]
        return value == f'"{value[1:-1]}"' and allowed.form.fullmatch(value[1:-1]) is not None
    texts = _listed(value)
    if isinstance(allowed, Wholes):
        wholes = [whole for text in texts if (whole := _whole(text)) is not None and whole in allowed.each]
        found.lists[number] = wholes
        return len(wholes) == len(texts) > 0
    reals = [real for text in texts if text != "0" and (real := _float(text)) is not None]
    found.float_lists[number] = reals
    return len(reals) == len(texts) > 0


def _whole(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) else None


def _float(text: str) -> float | None:
    if not _FLOAT.fullmatch(text) or not ("." in text or "e" in text or text == "0"):
        return None
    value = float(text)
    return max(-_LARGEST, min(value, _LARGEST)) if abs(value) <= _LARGEST * (1 + 2**-25) else None


def _listed(text: str) -> Sequence[str]:
    """Return the values of a list whose stated length is right; otherwise none."""
    count, *values = text.split(",")
    length = _whole(count)
    return values if length == len(values) and 0 < len(values) <= _MOST_LISTED else ()
