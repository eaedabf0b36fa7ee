"""What every gate bounds alike, each bound with its reason."""

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
"""Operators in a model: VGG16 has 31, the deepest networks in use about 1,500."""

MAX_TENSORS = 30_000
"""Tensors in a model: about three belong to an operator."""

MAX_AXES = 8
"""Axes of a tensor: images have 4; engines keep small fixed arrays for them."""

MAX_WINDOW = 1 << 10
"""Largest kernel, stride, dilation and padding: no window is wider than a picture; VGG16's are 3 and 1."""

MAX_SCALE = 32
"""Largest enlargement by one operator: VGG16 shrinks its pictures by 32 in all, and a decoder undoes that."""

MAX_VALUES = (1 << 31) - 1
"""Values of a tensor that is computed: engines count them with signed 32-bit numbers."""

MAX_NAME = 1 << 10
"""Letters of a name: names that say a path through nested models have some 200."""


MAX_ENTRIES = 1 << 10
"""Entries of metadata beside the graph: converters write up to ten."""


class Declared(NamedTuple):
    """An input or output as the file declares it.

    A named tuple, like all records here: a dataclass takes three times as long to define, at every start.

    Attributes:
        name: Its name.
        dtype: NumPy's name of the element type; empty where the format does not say.
        shape: Extents; None where any number will do, as in a card. None alone where the format does not say.
        one_image: Whether the format knows no batch: the shape is that of one image, without the card's first extent.
    """

    name: str
    dtype: str = ""
    shape: tuple[int | None, ...] | None = None
    one_image: bool = False


Shape = tuple[int, ...]


class Range(NamedTuple):
    """Bounds of integers, both ends allowed."""

    least: int
    most: int


class Needs(NamedTuple):
    """What a run takes.

    Attributes:
        shapes: Of each output, in the model's layout.
        memory: The most bytes of values that are needed at one time: what is read later, and what is computed.
        products: Multiplications, additions and the like in all.
    """

    shapes: Mapping[str, Shape]
    memory: int
    products: int


class ModelFacts(NamedTuple):
    """What a gate reads in a model file.

    Attributes:
        inputs: What has to be fed.
        outputs: What comes out.
        facts_json: The card's facts as fmedge's exporters put them into the file; None in other files.
        ways: Per output what happens on the way to it; those that hold constants are missing.
        needs: What a run on images of a shape, (N, H, W, 3), takes. It raises what :func:`require_shape` does, and
            ArtifactError where sizes do not fit each other or follow from pixels.
    """

    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    facts_json: str | None
    ways: Mapping[str, Way]
    needs: Callable[[Shape], Needs]


def damaged(what: str) -> ArtifactError:
    """The error of a file that does not keep its format; the gate's caller puts the file's name before it."""
    return ArtifactError(f"damaged: {what}.", hint="Export it again: fmedge export.")


def forbidden(what: str, allowed: str) -> ArtifactError:
    """The error of a file that is well formed and holds what is not run here."""
    return ArtifactError(f"holds {what}. Allowed: {allowed}.")


def facts_text(data: bytes, start: int, end: int) -> str:
    """The card's facts in ``data[start:end]``, which are no longer than a card may be.

    Raises:
        LimitExceeded: They are longer.
    """
    require_count("bytes of facts", end - start, MAX_CARD_BYTES)
    return data[start:end].decode(errors="replace")


def require_count(what: str, count: int, most: int) -> None:
    """Check a number of things.

    Raises:
        LimitExceeded: There are too many.
    """
    if count > most:
        raise LimitExceeded(f"{count:,} {what}. Allowed: {most:,}.")


def require_range(what: str, values: Iterable[int], least: int, most: int) -> None:
    """Check integers that decide how much is computed.

    Raises:
        LimitExceeded: One lies outside.
    """
    for value in values:
        if not least <= value <= most:
            raise LimitExceeded(f"{what} is {value}. Allowed: {least} to {most:,}.")


def require_extents(name: str, extents: Sequence[int]) -> int:
    """Check the extents of a tensor.

    Returns:
        Number of its values.

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
    """Check the extents of a tensor; an open one counts as 1.

    Returns:
        Its size in bytes.

    Raises:
        LimitExceeded: It has too many axes, or is too large.
    """
    extents = [extent for extent in shape if extent is not None]
    size = (require_extents(name, extents) * element_bits + 7) // 8
    if size > MAX_TENSOR_BYTES:
        raise LimitExceeded(f"'{name}' is {size:,} bytes large. Allowed: {MAX_TENSOR_BYTES:,}.")
    return size
