"""Sizes of all that a model computes, worked out from its image's size before an engine computes any of it.

A value that says a size (where to cut, into what to reshape) has to follow from constants and shapes alone: what
follows from pixels could be small today and huge tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from math import prod
from typing import NamedTuple

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.runtime.gate_bounds import (
    MOST_VALUES,
    Needs,
    Range,
    Shape,
    damaged,
    forbidden,
    require_count,
    require_extents,
)

MOST_KNOWN = 1 << 12
"""Integers of a constant that are read, since they may say sizes or places: one per channel of a wide layer."""

MOST_KNOWN_FLOATS = 64
"""Floats of a constant that are read: those that say sizes are one per axis."""

BITS: Mapping[str, int] = {
    **dict.fromkeys(("float64", "int64", "uint64"), 64),
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("float16", "int16", "uint16"), 16),
    **dict.fromkeys(("int8", "uint8", "bool"), 8),
    "int4": 4,
}
"""Bits of a value, by the name of its type."""


class Value(NamedTuple):
    """What is known of a tensor.

    Attributes:
        shape: Its extents.
        dtype: NumPy's name of its element type.
        known: Its numbers in order, where they are few and do not follow from pixels.
    """

    shape: Shape
    dtype: str = "float32"
    known: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        """Number of its elements."""
        return prod(self.shape)


class Step(NamedTuple):
    """An operator of a graph, with what its format says about it.

    Attributes:
        operator: Its name in the format.
        sources: What it reads; None where an input is left out.
        results: What it computes; empty names are left out.
        integers: Its options that are whole numbers, by name.
        words: Its options that are text, by name.
        dtypes: Types of its results, where the file says them.
    """

    operator: str
    sources: Sequence[str | None]
    results: Sequence[str]
    integers: Mapping[str, Sequence[int]]
    words: Mapping[str, str] = {}
    dtypes: Sequence[str] = ()


class Call(NamedTuple):
    """An operator with what it reads: what a rule gets.

    Attributes:
        step: The operator.
        values: What is known of its inputs; None where one is left out.
    """

    step: Step
    values: Sequence[Value | None]

    def value(self, position: int) -> Value:
        """An input that has to be there.

        Raises:
            ArtifactError: It is left out.
        """
        found = self.values[position] if position < len(self.values) else None
        if found is None:
            raise damaged(f"{self.step.operator} lacks input {position}")
        return found

    def numbers(self, position: int) -> list[int] | None:
        """The whole numbers of an input that says sizes or places; None where it is left out.

        Raises:
            ArtifactError: They follow from pixels, or are too many to be read.
        """
        found = self.values[position] if position < len(self.values) else None
        if found is None:
            return None
        if found.known is None:
            raise computed(self.step.operator)
        return [int(number) for number in found.known]

    def option(self, name: str, default: int) -> int:
        """An option that is one whole number."""
        return next(iter(self.step.integers.get(name, ())), default)


class Work(NamedTuple):
    """What a rule says of an operator.

    Attributes:
        results: What it computes, in order.
        products: Multiplications, additions and the like that it takes; at least one for every number is counted.
    """

    results: Sequence[Value]
    products: int = 0


Rule = Callable[[Call], Work | Value]


def work_out(
    steps: Sequence[Step],
    constants: Mapping[str, Value],
    image: tuple[str, Value],
    outputs: Sequence[str],
    rules: Mapping[str, Rule],
    sizes: Mapping[tuple[str, int], Range],
) -> Needs:
    """Go through a graph with the sizes alone.

    Args:
        steps: Its operators, each behind those that it reads.
        constants: What stands in the file.
        image: Name and shape of what is fed.
        outputs: What has to come out.
        rules: What each operator makes of sizes.
        sizes: Inputs, by operator and position, that say how much larger something gets, and their bounds.

    Raises:
        ArtifactError: Sizes do not fit each other, or follow from pixels.
        LimitExceeded: Something is larger than allowed.
    """
    last = {name: place for place, step in enumerate(steps) for name in step.sources if name}
    last.update(dict.fromkeys(outputs, len(steps)))
    values: dict[str, Value] = {image[0]: image[1]}
    held = {image[0]: _bytes(image[1])}
    total = most = sum(held.values())
    products = 0
    for place, step in enumerate(steps):
        call = Call(step, [_find(name, values, constants) for name in step.sources])
        _require_sizes(call, sizes)
        work = _apply(rules[step.operator], call)
        for name, value in zip(step.results, work.results, strict=False):
            if name:
                values[name] = value
                require_count(f"values in '{name}'", require_extents(name, value.shape), MOST_VALUES)
                held[name] = _bytes(value)
                total += held[name]
                products += value.size
        products += work.products
        most = max(most, total)
        for name in {*step.sources, *step.results}:
            if name and last.get(name, place) == place:
                total -= held.pop(name, 0)
    shapes = {name: (values.get(name) or constants[name]).shape for name in outputs}
    return Needs(shapes, most, products)


def _find(name: str | None, values: Mapping[str, Value], constants: Mapping[str, Value]) -> Value | None:
    if not name:
        return None
    found = values.get(name) or constants.get(name)
    if found is None:  # what an operator gives beside its first results
        raise damaged(f"'{name}' is read, which its operator does not compute at inference")
    return found


def _require_sizes(call: Call, sizes: Mapping[tuple[str, int], Range]) -> None:
    operator = call.step.operator
    for position, value in enumerate(call.values):
        bounds = sizes.get((operator, position))
        if bounds is None or value is None or not value.size:
            continue
        if value.known is None:
            raise computed(operator)
        for number in value.known:
            if not bounds.least <= number <= bounds.most:
                raise LimitExceeded(f"{operator} by {number:,.15g}. Allowed: {bounds.least} to {bounds.most:,}.")


def _bytes(value: Value) -> int:
    return value.size * BITS[value.dtype] // 8


def _apply(rule: Rule, call: Call) -> Work:
    try:
        work = rule(call)
    except (IndexError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise misfit(call) from error
    results = [work] if isinstance(work, Value) else work.results
    if call.step.dtypes:
        results = [_typed(*pair) for pair in zip(results, call.step.dtypes, strict=False)]
    return Work(results, 0 if isinstance(work, Value) else work.products)


def _typed(value: Value, dtype: str) -> Value:
    known = value.known
    if known is not None and "int" in dtype:
        known = tuple(int(number) for number in known)
    return Value(value.shape, dtype, known)


def computed(operator: str) -> ArtifactError:
    """The error of an operator that is told by pixels what to cut, or how large."""
    return forbidden(f"{operator} to a size that is computed", "sizes from constants and shapes")


def misfit(call: Call) -> ArtifactError:
    """The error of an operator whose inputs do not fit each other."""
    shapes = ", ".join(" x ".join(map(str, value.shape)) or "one" for value in call.values if value is not None)
    return damaged(f"{call.step.operator} cannot take {shapes}")


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape to which others are stretched, aligned at their last axes.

    Raises:
        ValueError: They cannot be.
    """
    found: list[int] = []
    for extents in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {extent for extent in extents if extent != 1}
        if len(wide) > 1:
            raise ValueError(f"{sorted(wide)}")
        found.append(wide.pop() if wide else 1)
    return tuple(reversed(found))


def axis_of(axis: int, axes: int) -> int:
    """An axis counted from the front.

    Raises:
        ValueError: There is none.
    """
    if not -axes <= axis < axes:
        raise ValueError(f"axis {axis}")
    return axis % axes


def slid(extent: int, window: int, stride: int, before: int, after: int, *, up: bool = False) -> int:
    """Places of a window on an axis.

    Raises:
        ValueError: It does not fit once.
    """
    room = extent + before + after - window
    if room < 0:
        raise ValueError("a window larger than what it slides over")
    places = (-(-room // stride) if up else room // stride) + 1
    # A window that would begin beyond the picture and its border before it does not count: ONNX' and Caffe's rule.
    return places - 1 if up and (places - 1) * stride >= extent + before else places


def same(extent: int, stride: int) -> int:
    """Places of a window on an axis that is padded so that each stride has one."""
    return -(-extent // stride)


def reshaped(count: int, wanted: Sequence[int]) -> Shape:
    """A shape in which one extent may be -1, and is then worked out.

    Raises:
        ValueError: The numbers of elements differ.
    """
    open_places = [place for place, extent in enumerate(wanted) if extent == -1]
    if len(open_places) > 1 or any(extent < -1 for extent in wanted):
        raise ValueError("two open extents")
    rest = prod(extent for extent in wanted if extent != -1)
    shape = tuple(count // rest if extent == -1 else extent for extent in wanted)
    if prod(shape) != count:
        raise ValueError("another number of elements")
    return shape


def reduced(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    """A shape without some axes, or with 1 in their place."""
    gone = {axis_of(axis, len(shape)) for axis in axes}
    kept = [(1 if axis in gone else extent) for axis, extent in enumerate(shape) if keep or axis not in gone]
    return tuple(kept)


def joined_along(values: Sequence[Value], axis: int) -> Value:
    """Values one behind the other along an axis; all others have to agree.

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
    if len(first.shape) == 1 and extent <= MOST_KNOWN:
        known = _chained([value.known for value in values])
    return Value((*first.shape[:axis], extent, *first.shape[axis + 1 :]), first.dtype, known)


def _chained(parts: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    numbers: list[float] = []
    for part in parts:
        if part is None:
            return None
        numbers += part
    return tuple(numbers)


def sliced(extent: int, start: int, end: int, step: int) -> range:
    """Places that a slice takes of an axis, as NumPy does.

    Raises:
        ValueError: The step is 0.
    """
    return range(*slice(start, end, step).indices(extent))


def taken(value: Value, places: Sequence[range | None]) -> Value:
    """A slice of a value, per axis the places; None takes all."""
    shape = tuple(extent if place is None else len(place) for extent, place in zip(value.shape, places, strict=True))
    known = value.known
    if known is not None and places[0] is not None:
        known = tuple(known[place] for place in places[0]) if len(shape) == 1 else None
    return Value(shape, value.dtype, known)


def gathered(call: Call, axis: int, indices: Value) -> Value:
    """Parts of input 0 along an axis, chosen by places that are known and lie inside.

    Raises:
        ArtifactError: They follow from pixels.
        ValueError: One lies outside.
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
    """Parts of a value along an axis.

    Raises:
        ValueError: They are not the whole.
    """
    axis = axis_of(axis, len(value.shape))
    if sum(sizes) != value.shape[axis] or any(size < 0 for size in sizes):
        raise ValueError("parts that are not the whole")
    require_count("parts of one value", len(sizes), MOST_KNOWN)
    return [Value((*value.shape[:axis], size, *value.shape[axis + 1 :]), value.dtype) for size in sizes]


def product_of_matrices(left: Shape, right: Shape) -> tuple[Shape, int]:
    """Shape of a product of stacks of matrices, and its multiplications; vectors count as NumPy counts them.

    Raises:
        ValueError: They do not fit.
    """
    rows, columns = left if len(left) > 1 else (1, *left), right if len(right) > 1 else (*right, 1)
    if rows[-1] != columns[-2]:
        raise ValueError("inner extents differ")
    whole = (*broadcast((rows[:-2], columns[:-2])), rows[-2], columns[-1])
    kept = [*whole[:-2], *whole[-2:-1][: len(left) > 1], *whole[-1:][: len(right) > 1]]
    return tuple(kept), prod(whole) * rows[-1]


def folded(operator: Callable[..., float], values: Sequence[Value], shape: Shape) -> tuple[float, ...] | None:
    """What an operator makes, number by number, of what is known; None where something is not, or there is much."""
    numbers = [value.known for value in values]
    count = prod(shape)
    if count > MOST_KNOWN_FLOATS or any(known is None or len(known) not in (1, count) for known in numbers):
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
"""What converters compute sizes with; whole numbers are cut towards zero afterwards."""
