"""Work out the sizes of everything that a model computes from the image's size, before an engine computes any of it.

A value that states a size (where to cut, what shape to take) must follow from constants and shapes alone: what follows
from pixels could be small today and huge tomorrow.
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
"""Most integers of a constant that are read, since they may state sizes or places: one per channel of a wide layer."""

MAX_KNOWN_FLOATS = 64
"""Most floats of a constant that are read: floats that state sizes are one per axis."""

BITS: Mapping[str, int] = {
    **dict.fromkeys(("float64", "int64", "uint64"), 64),
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("float16", "int16", "uint16"), 16),
    **dict.fromkeys(("int8", "uint8", "bool"), 8),
    "int4": 4,
}
"""Bits per value, by the name of the type."""


class Value(NamedTuple):
    """What is known about a tensor.

    Attributes:
        shape: Its extents.
        dtype: NumPy's name of its element type.
        known: Its numbers in order, if they are few and do not follow from pixels; otherwise None.
    """

    shape: Shape
    dtype: str = "float32"
    known: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        """Number of its elements."""
        return prod(self.shape)


class Step(NamedTuple):
    """An operator of a graph, with its inputs, outputs and options.

    Attributes:
        operator: Its name in the format.
        sources: Names of its inputs; None or empty where an input is left out.
        results: Names of its outputs; empty where an output is left out.
        integers: Its integer options, by name.
        words: Its text options, by name.
        dtypes: Types of its outputs, where the file states them.
    """

    operator: str
    sources: Sequence[str | None]
    results: Sequence[str]
    integers: Mapping[str, Sequence[int]]
    words: Mapping[str, str] = {}
    dtypes: Sequence[str] = ()


class Call(NamedTuple):
    """An operator with its inputs: the argument of a rule.

    Attributes:
        step: The operator.
        values: What is known about its inputs; None where one is left out.
    """

    step: Step
    values: Sequence[Value | None]

    def value(self, position: int) -> Value:
        """Return an input that must be present.

        Raises:
            ArtifactError: It is left out.
        """
        found = self.values[position] if position < len(self.values) else None
        if found is None:
            raise damaged(f"{self.step.operator} lacks input {position}")
        return found

    def numbers(self, position: int) -> list[int] | None:
        """Return the integers of an input that states sizes or places; None where it is left out.

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
        """Return an option that is one integer."""
        return next(iter(self.step.integers.get(name, ())), default)


class Work(NamedTuple):
    """The result of a rule: an operator's outputs and its work.

    Attributes:
        results: Its outputs, in order.
        products: Multiplications, additions and the like that it takes, beyond one for every number that it computes.
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
    """Go through a graph, computing only sizes, and return what a run takes.

    Args:
        steps: Its operators, each after those whose results it reads.
        constants: The constants in the file.
        image: Name and value of the image that is fed.
        outputs: Names of the outputs.
        rules: The shape rule of each operator.
        sizes: Inputs, by operator and position, that say how much larger something gets, with their limits.

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
    if found is None:  # an operator's further outputs, beyond those of its rule
        raise damaged(f"'{name}' is read, but its operator does not compute it at inference")
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
    """Return the error for an operator whose sizes or places follow from pixels."""
    return forbidden(f"{operator} with a size computed from values", "sizes from constants and shapes")


def misfit(call: Call) -> ArtifactError:
    """Return the error for an operator whose inputs do not fit each other."""
    shapes = ", ".join(" x ".join(map(str, value.shape)) or "one" for value in call.values if value is not None)
    return damaged(f"{call.step.operator} cannot take inputs of {shapes}")
