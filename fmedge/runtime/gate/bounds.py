"""The limits that all gates share, each with its reason, and the records that they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.model.artifact import MAX_CARD_BYTES
from fmedge.model.card import MAX_EXTENT as MAX_EXTENT
from fmedge.model.card import MAX_TENSOR_BYTES as MAX_TENSOR_BYTES
from fmedge.runtime.gate.relu_count import Way

MAX_NODES = 10_000
"""Most operators in a model: VGG16 has 31, the deepest networks in use about 1,500."""

MAX_TENSORS = 30_000
"""Most tensors in a model: there are about three per operator."""

MAX_AXES = 8
"""Most axes of a tensor: images have 4, and engines keep small fixed arrays for them."""

MAX_WINDOW = 1 << 10
"""Largest kernel, stride, dilation and padding: no window is wider than an image; VGG16's are 3 and 1."""

MAX_SCALE = 32
"""Largest enlargement by one operator: VGG16 shrinks its images by 32 in all, and a decoder undoes that."""

MAX_VALUES = (1 << 31) - 1
"""Most values of a computed tensor: engines count them with signed 32-bit numbers."""

MAX_NAME = 1 << 10
"""Most letters of a name: names that give a path through nested models have some 200."""


MAX_ENTRIES = 1 << 10
"""Most metadata entries next to the graph: converters write up to ten."""


class Declared(NamedTuple):
    """An input or output as the file declares it.

    A named tuple, like all records here: a dataclass takes three times as long to define, at every start.

    Attributes:
        name: Its name.
        dtype: NumPy's name of the element type; empty where the format does not state it.
        shape: Its extents, each None where any number is allowed, as in a card; None as a whole where the format does
            not state it.
        one_image: Whether the format has no batches: the shape is that of one image, without the card's first extent.
    """

    name: str
    dtype: str = ""
    shape: tuple[int | None, ...] | None = None
    one_image: bool = False


Shape = tuple[int, ...]


class Range(NamedTuple):
    """A range of allowed integers, both ends included."""

    least: int
    most: int


class Needs(NamedTuple):
    """The outputs, the memory and the work of a run.

    Attributes:
        shapes: The shape of each output, in the model's layout.
        memory: The most bytes of values that are needed at one time: those that are read later, and those being
            computed.
        products: Total number of multiplications, additions and the like.
    """

    shapes: Mapping[str, Shape]
    memory: int
    products: int


class ModelFacts(NamedTuple):
    """What a gate reads from a model file.

    Attributes:
        inputs: The inputs that must be fed.
        outputs: The outputs.
        facts_json: The card's facts as fmedge's exporters write them into the file; None in other files.
        ways: For each output what happens on the way from the image; outputs that are constants are missing.
        needs: Gives what a run on images of a shape, (N, H, W, 3), takes. It raises LimitExceeded where something is
            too large, and ArtifactError where sizes do not fit each other or follow from pixels.
    """

    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    facts_json: str | None
    ways: Mapping[str, Way]
    needs: Callable[[Shape], Needs]


def damaged(what: str) -> ArtifactError:
    """Return the error for a file that breaks its format; the gate's caller adds the file's name."""
    return ArtifactError(f"damaged: {what}.", hint="Export it again: fmedge export.")


def forbidden(what: str, allowed: str) -> ArtifactError:
    """Return the error for a file that is well formed but contains something that fmedge does not run."""
    return ArtifactError(f"has {what}. Allowed: {allowed}.")


def facts_text(data: bytes, start: int, end: int) -> str:
    """Return the card's facts in ``data[start:end]``.

    Raises:
        LimitExceeded: They are longer than a card may be.
    """
    require_count("bytes of facts", end - start, MAX_CARD_BYTES)
    return data[start:end].decode(errors="replace")


def require_count(what: str, count: int, most: int) -> None:
    """Check that there are not too many of something.

    Raises:
        LimitExceeded: There are.
    """
    if count > most:
        raise LimitExceeded(f"has {count:,} {what}. Allowed: {most:,}.")


def require_range(what: str, values: Iterable[int], least: int, most: int) -> None:
    """Check the range of integers that decide how much is computed.

    Raises:
        LimitExceeded: One is outside the range.
    """
    for value in values:
        if not least <= value <= most:
            raise LimitExceeded(f"{what} is {value}. Allowed: {least} to {most:,}.")


def require_extents(name: str, extents: Sequence[int]) -> int:
    """Check the extents of a tensor.

    Returns:
        The number of its values.

    Raises:
        LimitExceeded: It has too many axes, or one is too long.
    """
    if len(extents) > MAX_AXES:
        raise LimitExceeded(f"'{name}' has {len(extents)} axes. Allowed: {MAX_AXES}.")
    for extent in extents:
        if not 0 <= extent <= MAX_EXTENT:
            raise LimitExceeded(f"'{name}' has an extent of {extent}. Allowed: 0 to {MAX_EXTENT:,}.")
    return prod(extents)


def require_shape(name: str, shape: Sequence[int | None], element_bits: int) -> int:
    """Check the extents and the size of a tensor; an open extent counts as 1.

    Returns:
        Its size in bytes.

    Raises:
        LimitExceeded: It has too many axes, one is too long, or the tensor is too large.
    """
    extents = [extent for extent in shape if extent is not None]
    size = (require_extents(name, extents) * element_bits + 7) // 8
    if size > MAX_TENSOR_BYTES:
        raise LimitExceeded(f"'{name}' takes {size:,} bytes. Allowed: {MAX_TENSOR_BYTES:,}.")
    return size
