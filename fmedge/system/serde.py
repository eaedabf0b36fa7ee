"""Build frozen dataclasses from JSON documents of unknown origin; every number and text is bounded before it is used.

Cards, reports and tuned choices are all read by :func:`read_document`: the inverse of ``dataclasses.asdict``, checked
against the annotations of the dataclass and against one table of bounds.
"""

from __future__ import annotations

import contextlib
import json
import math
import unicodedata
from collections.abc import Callable, Generator, Mapping
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as fields_of
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from fmedge.errors import ArtifactError, UsageError

Record = TypeVar("Record")

_TOLD_LETTERS = 70
"""Most letters shown of the reason why a document cannot be read."""

_MAX_DIGITS = 19
"""Most digits of an integer in JSON: those of a signed 64-bit number."""

_MAX_LISTS = 1 << 19
_MAX_VALUES = 1 << 22
"""``_MAX_LISTS`` limits the lists and objects of a document, which take at least 64 bytes of memory each;
``_MAX_VALUES`` limits the commas between values, 32 bytes each. A report of 4,000 measurements of two seconds each has
half of either."""

_LONGEST_TEXT = 1 << 14
"""Most letters of a text: a reason or a recipe has a few hundred, the names of a network's layers together a few
thousand."""

_MAX = 1 << 53
"""Integers up to here are exact as floats: about 10^16."""

_LEAST = 1e-30
"""Smallest number other than zero: anything divided by it stays finite."""

_SECONDS = (1e-9, 1e9)
"""A time, or a rate of images, that is used as a divisor: a nanosecond to thirty years."""

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "snr_db": (-1e4, math.inf),
    "min_snr_db": (-1e4, 1e4),
    "max_error_over_range": (0, 1e300),
    "predicted_db": (-1e4, 1e4),
    "cosine": (-1.001, 1.001),
    "min_cosine": (-1.0, 1.0),
    "stride": (1e-6, 1e6),
    "receptive_field": (1e-6, 1e6),
    "centre": (-1e6, 1e6),
    "mean": (-1e6, 1e6),
    "std": (-1e6, 1e6),
    "scale": (-1e6, 1e6),
    "others_s": (-1e9, 1e9),  # the difference of two clocks
    "cores": (1, 1 << 16),
    "threads": (1, 1 << 16),
    "affinity": (0, 1 << 16),
    "processes": (1, 1 << 16),
    "exit_code": (-255, 255),
    "runs": (1, 1e9),
    "batch": (1, 1 << 20),
    "size": (1, 1 << 20),
    "shape": (1, 1 << 20),
    "macs": (1, 1e15),
    "seconds": (0, 1e9),
    "turns": _SECONDS,
    "stages": (0, 1e9),
    "yardstick_s": _SECONDS,
    "limit_s": _SECONDS,
    "p50_s": _SECONDS,
    "images_per_s": _SECONDS,
    "load_s": (0, 1e9),
    "first_run_s": (0, 1e9),
    "cpu_s": (0, 1e9),
    "wall_s": (0, 1e9),
    "flops": (1, 1e18),
    "copy_bytes": (1, 1e18),
    "megahertz": (1e-3, 1e6),
    "energy_j": (1e-12, 1e9),
    "gross_j": (1e-12, 1e9),
    "uncertainty_j": (0, 1e9),
    "idle_w": (0, 1e4),
    "power_w": (0, 1e5),
    "rate_hz": (0, 1e6),
    "hottest_c": (-40, 150),
    "temperature_c": (-40, 150),
    "clock_mhz": (0, 1e4),
    "sampler_load": (0, 1e3),
    "times_s": (0, 1e9),
    "throttled_s": (0, 1e9),
    "power_times_s": (0, 1e9),
    "throttled": (0, 1e9),
}
"""Least and most allowed value of a number, by the name of its field; a number in a list or a mapping goes by the name
of that. A field that is not listed must lie between 0 and :data:`_MAX`."""


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - what JSON holds
    """Parse JSON text in which every number is finite and not too long, and every name of an object is unique.

    Raises:
        ValueError: It is not JSON, or holds ``NaN``, ``Infinity``, a number that is too large, a name twice in one
            object, or more than any document of fmedge.
        RecursionError: It is nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode()  # once, because all of it is searched first
    for what, count, most in (
        ("lists", text.count("[") + text.count("{"), _MAX_LISTS),
        ("values", text.count(","), _MAX_VALUES),
    ):
        if count > most:
            raise ValueError(f"{count:,} {what}, at most {most:,} allowed")
    return json.loads(
        text, parse_constant=_finite, parse_float=_finite, parse_int=short_integer, object_pairs_hook=_once
    )


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is not finite")
    return value


def short_integer(word: str) -> int:
    """Parse an integer that is not too long; for ``json.loads``.

    Raises:
        ValueError: It has more digits than any number that fmedge uses.
    """
    if len(word) > _MAX_DIGITS:
        raise ValueError(f"an integer with {len(word)} digits")
    return int(word)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a field twice")
    return found


def read_document(
    text: str | bytes, kind: type[Record], fields: Callable[[dict[str, Any]], dict[str, Any]] = lambda data: data
) -> Record:
    """Build a record from a document that somebody else may have written.

    Args:
        text: JSON text.
        kind: A dataclass; see :func:`build`.
        fields: Gets the parsed document and returns the record's fields: removes its head, such as the version, and
            converts an older version. Its input has not been checked against any bounds yet.

    Raises:
        ValueError: See :func:`parse` and :func:`build`.
        TypeError: See :func:`build`.
        KeyError: From ``fields``.
        RecursionError: See :func:`parse`.
    """
    return cast("Record", build(kind, fields(require_kind(dict, parse(text)))))


@contextlib.contextmanager
def refusing(path: Path | str, what: str, mend: str) -> Generator[None]:
    """Turn the errors of reading a damaged file into a one-line message.

    Args:
        path: The file.
        what: What it should be, in words.
        mend: The next step, without a full stop.

    Raises:
        UsageError: The block raised an error of :func:`read_document` or of reading the file.
    """
    try:
        yield
    except ArtifactError as error:
        raise UsageError(str(error), hint=error.hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"'{path}' cannot be read as {what} ({reason(error)}).", hint=f"{mend}.") from error


def reason(error: Exception) -> str:
    """Return why a document cannot be read, in a few words for a message."""
    said = str(error) if isinstance(error, (ValueError, TypeError)) else ""
    return said[:_TOLD_LETTERS] or type(error).__name__


def build(kind: Any, data: Any, name: str = "") -> Any:  # noqa: ANN401 - any type, and what JSON holds
    """Build a value of a type from parsed JSON.

    Args:
        kind: A dataclass, or the annotation of one of its fields: a plain type, ``Literal``, ``StrEnum``, a type or
            None, a dataclass or another type, ``tuple``, ``Mapping`` or ``dict``. A class that has a ``from_dict`` is
            built by it.
        data: As :func:`parse` returns it.
        name: Name of the field that the value is for; its bounds are found by it.

    Raises:
        TypeError: A value is of another type, or a field is missing or unknown.
        ValueError: A value is out of bounds or not one of those allowed, or there are too many or too few values.
        KeyError: A class with its own ``from_dict`` lacks a field.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if data is None and NoneType in inner:
            return None
        others = [each for each in inner if each is not NoneType]
        of_object = [each for each in others if is_dataclass(each) == isinstance(data, dict)]
        return build((of_object or others)[0], data, name)
    if origin is Literal:
        if data not in inner:
            raise ValueError(f"'{name}' is not one of {inner}")
        return data
    if origin is tuple:
        if inner == (float, ...) and data and set(map(type, require_kind(list, data))) <= {float, int}:
            return _floats(list(map(float, data)), name)
        kinds = inner[:1] * len(require_kind(list, data)) if inner[-1] is ... else inner
        if len(require_kind(list, data)) != len(kinds):
            raise ValueError(f"{len(data)} values for '{name}', {len(kinds)} expected")
        return tuple(build(each, value, name) for each, value in zip(kinds, data, strict=True))
    if origin in (Mapping, dict):
        pairs = require_kind(dict, data).items()
        return {build(str, key, name): build(inner[1], value, name) for key, value in pairs}
    if hasattr(kind, "from_dict"):
        return kind.from_dict(data)
    if is_dataclass(kind):
        return build_record(cast("type[Any]", kind), data)
    return _plain(kind, data, name)


def _floats(values: list[float], name: str) -> tuple[float, ...]:
    """Check many numbers against their bounds, as :func:`_plain` does for one."""
    for value in (min(values), max(values), min((abs(value) for value in values if value), default=1.0)):
        _plain(float, value, name)
    return tuple(values)


def build_record(kind: type[Record], data: Any) -> Record:  # noqa: ANN401 - what JSON holds
    """Build a dataclass from its fields; see :func:`build`."""
    hints = get_type_hints(kind)
    if unknown := set(require_kind(dict, data)) - set(hints):
        raise TypeError(f"unknown field {sorted(unknown)[0]!r}")
    needed = {
        each.name
        for each in fields_of(cast("Any", kind))
        if each.default is MISSING and each.default_factory is MISSING
    }
    if missing := needed - set(data):
        raise TypeError(f"field {sorted(missing)[0]!r} is missing")
    return kind(**{name: build(hints[name], value, name) for name, value in data.items()})


def _plain(kind: Any, data: Any, name: str) -> Any:  # noqa: ANN401
    """Check a number against its bounds, a text that is safe to show, a truth value, or a word of an enumeration."""
    if issubclass(kind, StrEnum):
        return kind(require_kind(str, data))
    if kind is float and type(data) is int:
        data = float(data)
    value = require_kind(kind, data, name)
    if kind in (int, float):
        least, most = _BOUNDS.get(name, (0, _MAX))
        if not least <= value <= most or 0 < abs(value) < _LEAST:
            raise ValueError(f"'{name}' is {value}, allowed: {least} to {most}")
    if kind is str:
        _require_text(value, name)
    return value


_STEERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of writing."""


def _require_text(text: str, name: str) -> None:
    """Check that a text is not too long and holds no characters that control a terminal.

    Raises:
        ValueError: It is too long, or holds surrogates, control characters or characters that change the direction of
            writing.
    """
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"'{name}' has {len(text):,} characters, at most {_LONGEST_TEXT:,} allowed")
    if text.isprintable():
        return
    for letter in text:
        steers = letter in _STEERING or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        if steers and letter not in "\n\t":  # reasons that engines give have several lines
            raise ValueError(f"'{name}' contains the unprintable character U+{ord(letter):04X}")


def require_kind(kind: type, data: Any, name: str = "") -> Any:  # noqa: ANN401
    """Return the value if it is of exactly that type.

    Args:
        kind: The type.
        data: The value.
        name: Name of the field that it is for, for the message.

    Raises:
        TypeError: It is of another type.
    """
    if type(data) is not kind:
        where = f" for '{name}'" if name else ""
        raise TypeError(f"{type(data).__name__} instead of {kind.__name__}{where}")
    return data
