"""From JSON back to frozen dataclasses: the inverse of ``dataclasses.asdict``, checked against their annotations."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fmedge.errors import ArtifactError, UsageError


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - what JSON holds
    """What JSON text says, where it holds finite numbers alone.

    Raises:
        ValueError: It is no JSON, or holds ``NaN``, ``Infinity`` or a number too large for a float.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is not finite")
    return value


@contextlib.contextmanager
def refusing(path: Path, what: str, mend: str) -> Generator[None]:
    """Turn what reading a damaged file raises into one line.

    Args:
        path: The file.
        what: What it should be, in words.
        mend: The next step, without a full stop.

    Raises:
        UsageError: The block raised what :func:`parse`, :func:`build` or reading the file do.
    """
    try:
        yield
    except ArtifactError as error:
        raise UsageError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"'{path}' cannot be read as {what} ({type(error).__name__}). {mend}.") from error


def build(kind: Any, data: Any) -> Any:  # noqa: ANN401 - any type, and what JSON holds
    """A value of a type, out of what JSON made of it.

    Args:
        kind: A dataclass, or what its fields are annotated with: plain types, ``Literal``, a type or None, ``tuple``,
            ``Mapping``. A class with a ``from_dict`` of its own is built by that.
        data: As ``json.loads`` gives it.

    Raises:
        TypeError: A value is of another type, a field is missing or unknown.
        ValueError: A value is not one of those allowed, or there are too many or too few.
        KeyError: A class with a ``from_dict`` of its own lacks a field.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (other,) = (each for each in inner if each is not NoneType)
        return None if data is None else build(other, data)
    if origin is Literal:
        if data not in inner:
            raise ValueError(f"{data} is none of {inner}")
        return data
    if origin is tuple:
        kinds = inner[:1] * len(require_kind(list, data)) if inner[-1] is ... else inner
        return tuple(build(each, value) for each, value in zip(kinds, require_kind(list, data), strict=True))
    if origin is Mapping:
        return {name: build(inner[1], value) for name, value in require_kind(dict, data).items()}
    if hasattr(kind, "from_dict"):
        return kind.from_dict(data)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        if unknown := set(require_kind(dict, data)) - set(hints):
            raise TypeError(f"no field {unknown}")
        fields: Any = kind
        return fields(**{name: build(hints[name], value) for name, value in data.items()})
    return float(data) if kind is float and type(data) is int else require_kind(kind, data)


def require_kind(kind: type, data: Any) -> Any:  # noqa: ANN401
    """The value itself, if it is of that very type.

    Raises:
        TypeError: It is of another.
    """
    if type(data) is not kind:
        raise TypeError(f"{type(data).__name__} in place of {kind.__name__}")
    return data
