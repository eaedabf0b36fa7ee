"""Shape rules that all formats share: they join, cut, choose and compute values, as far as the values are known.

Functions raise ValueError where values do not fit each other; see :mod:`fmedge.runtime.gate.shapes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from fmedge.runtime.gate.bounds import Shape, require_count
from fmedge.runtime.gate.extents import axis_of, broadcast
from fmedge.runtime.gate.shapes import MAX_KNOWN, MAX_KNOWN_FLOATS, Call, Rule, Value, computed


def unchanged(call: Call) -> Value:
    """Return input 0, without its numbers, which are no longer known."""
    return call.value(0)._replace(known=None)


def stretched(operator: Callable[..., float] | None = None, dtype: str = "") -> Rule:
    """Return the rule of an operator that works value by value, with broadcasting.

    Args:
        operator: Computes the result's numbers from known ones; None leaves them unknown.
        dtype: Type of the result; empty for that of input 0.
    """

    def rule(call: Call) -> Value:
        values = [call.value(position) for position in range(len(call.values))]
        shape = broadcast([value.shape for value in values])
        known = None if operator is None else folded(operator, values, shape)
        kind = dtype or values[0].dtype
        if known is not None and "int" in kind:
            known = tuple(int(number) for number in known)
        return Value(shape, kind, known)

    return rule


def concatenated(call: Call) -> Value:
    """Join all inputs along the axis that an option states."""
    return joined_along([call.value(position) for position in range(len(call.values))], call.option("axis", 0))


def tiled(call: Call) -> Value:
    """Repeat input 0 along each axis as often as input 1 says."""
    value, times = call.value(0), call.numbers(1)
    if times is None:
        raise ValueError("no number")
    return Value(tuple(extent * many for extent, many in zip(value.shape, times, strict=True)), value.dtype)


def joined_along(values: Sequence[Value], axis: int) -> Value:
    """Join values one after the other along an axis; all other axes must agree.

    Raises:
        ValueError: They do not.
    """
    first = values[0]
    axis = axis_of(axis, len(first.shape))
    rests = {(*value.shape[:axis], *value.shape[axis + 1 :]) for value in values}
    if len(rests) != 1 or len({len(value.shape) for value in values}) != 1:
        raise ValueError("other extents")
    extent = sum(value.shape[axis] for value in values)
    known = None
    if len(first.shape) == 1 and extent <= MAX_KNOWN:
        known = _chained([value.known for value in values])
    return Value((*first.shape[:axis], extent, *first.shape[axis + 1 :]), first.dtype, known)


def _chained(parts: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    numbers: list[float] = []
    for part in parts:
        if part is None:
            return None
        numbers += part
    return tuple(numbers)


def taken(value: Value, places: Sequence[range | None]) -> Value:
    """Return a slice of a value, given the places on each axis; None takes all."""
    shape = tuple(extent if place is None else len(place) for extent, place in zip(value.shape, places, strict=True))
    known = value.known
    if known is not None and places[0] is not None:
        known = tuple(known[place] for place in places[0]) if len(shape) == 1 else None
    return Value(shape, value.dtype, known)


def gathered(call: Call, axis: int, indices: Value) -> Value:
    """Take parts of input 0 along an axis; the places must be known and exist.

    Raises:
        ArtifactError: The places follow from pixels.
        ValueError: One does not exist.
    """
    value = call.value(0)
    axis = axis_of(axis, len(value.shape))
    if indices.known is None:
        raise computed(call.step.operator)
    places = [axis_of(int(place), value.shape[axis]) for place in indices.known]
    known = None
    if value.known is not None and len(value.shape) == 1:
        known = tuple(value.known[place] for place in places)
    return Value((*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]), value.dtype, known)


def split_along(value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Split a value into parts along an axis.

    Raises:
        LimitExceeded: There are too many parts.
        ValueError: The parts do not add up to the whole.
    """
    axis = axis_of(axis, len(value.shape))
    if sum(sizes) != value.shape[axis] or any(size < 0 for size in sizes):
        raise ValueError("parts that are not the whole")
    require_count("parts of one value", len(sizes), MAX_KNOWN)
    return [Value((*value.shape[:axis], size, *value.shape[axis + 1 :]), value.dtype) for size in sizes]


def folded(operator: Callable[..., float], values: Sequence[Value], shape: Shape) -> tuple[float, ...] | None:
    """Apply an operator number by number to known values; None where a value is unknown, or there are many numbers."""
    numbers = [value.known for value in values]
    count = prod(shape)
    if count > MAX_KNOWN_FLOATS or any(known is None or len(known) not in (1, count) for known in numbers):
        return None
    columns = [known if len(known or ()) == count else (known or ()) * count for known in numbers]
    return tuple(operator(*row) for row in zip(*(column or () for column in columns), strict=True))


def _added(left: float, right: float) -> float:
    return left + right


def _less(left: float, right: float) -> float:
    return left - right


def _times(left: float, right: float) -> float:
    return left * right


def _parts(left: float, right: float) -> float:
    return left / right


def _largest(left: float, right: float) -> float:
    return max(left, right)


def _least(left: float, right: float) -> float:
    return min(left, right)


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "add": _added,
    "sub": _less,
    "mul": _times,
    "div": _parts,
    "max": _largest,
    "min": _least,
}
"""The operators that converters compute sizes with; integers are truncated towards zero afterwards."""
