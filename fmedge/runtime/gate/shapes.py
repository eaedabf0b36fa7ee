"""Sizes of all that a model computes, worked out from its image's size before an engine computes any of it.

A value that says a size (where to cut, into what to reshape) has to follow from constants and shapes alone: what
follows from pixels could be small today and huge tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.runtime.gate.bounds import (
    MAX_VALUES,
    Needs,
    Range,
    Shape,
    damaged,
    forbidden,
    require_count,
    require_extents,
)

MAX_KNOWN = 1 << 12
"""Integers of a constant that are read, since they may say sizes or places: one per channel of a wide layer."""

MAX_KNOWN_FLOATS = 64
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
                require_count(f"values in '{name}'", require_extents(name, value.shape), MAX_VALUES)
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
