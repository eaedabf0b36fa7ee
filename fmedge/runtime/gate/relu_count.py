"""Count the ReLUs on the way from the image to each output while a gate reads the graph, and compare with the card.

Computed values reveal a wrong ReLU only if somebody compares them. A graph reveals it without a run: a stock network
has one after every convolution, and the card says whether the last one is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fmedge.model.submodel import Activation, SubModel


class Way(NamedTuple):
    """What happens to values on the way from the image to a place in the graph.

    Attributes:
        convolutions: Number of convolutions on the way; the largest number where there are several ways.
        rectifiers: Number of ReLUs on the way, whatever operator does it; the largest number likewise.
        rectified: Whether no value here can be below zero, as is true of pixels.
        twice: Whether a ReLU follows a ReLU with nothing between them that could give values below zero.
    """

    convolutions: int = 0
    rectifiers: int = 0
    rectified: bool = True
    twice: bool = False

    def convolved(self) -> Way:
        """Return the way after a convolution."""
        return self._replace(convolutions=self.convolutions + 1, rectified=False)

    def relu(self) -> Way:
        """Return the way after a ReLU."""
        return self._replace(
            rectifiers=self.rectifiers + 1,
            rectified=True,
            twice=self.twice or (self.rectified and bool(self.rectifiers)),
        )

    def clamped(self) -> Way:
        """Return the way after 8-bit codes whose lowest stands for zero: they cut off values below zero, as ReLU does.

        After a ReLU they cut off nothing, and before the first convolution they are pixels.
        """
        if self.rectified or not self.convolutions:
            return self
        return self._replace(rectifiers=self.rectifiers + 1, rectified=True)

    def other(self) -> Way:
        """Return the way after an operator that may give values of both signs."""
        return self._replace(rectified=False)


IMAGE = Way()
"""The way at the image itself."""


def joined(ways: Sequence[Way]) -> Way | None:
    """Return the way where several ways meet; None where there are none, that is, after constants."""
    if len(ways) < 2:
        return ways[0] if ways else None
    convolutions, rectifiers, rectified, twice = zip(*ways, strict=True)
    return Way(max(convolutions), max(rectifiers), all(rectified), any(twice))


def wrong_rectifiers(submodel: SubModel, ways: Mapping[str, Way]) -> str:
    """Describe what is wrong with the ReLUs of a model; empty where nothing is.

    Args:
        submodel: The sub-model that the card describes. A user's Keras model is not checked: nobody knows how many
            ReLUs there should be, or whether its layers' activation is ReLU at all.
        ways: The way to each tap.
    """
    if submodel.stock is None:
        return ""
    raw = submodel.activation is Activation.NONE
    for tap in submodel.taps:
        way = ways.get(tap, IMAGE)
        wanted = sum(spec.kind == "conv" for spec in submodel.stock.through(tap)) - raw
        if way.twice:
            return f"two ReLUs in a row on the way to '{tap}'"
        if way.rectifiers != wanted or way.rectified == raw:
            return (
                f"{_count(way.rectifiers)} up to '{tap}'{_last(way.rectified)}; "
                f"its card says {_count(wanted)}{_last(not raw)}"
            )
    return ""


def _count(number: int) -> str:
    return f"{number} ReLU{'s' * (number != 1)}"


def _last(rectified: bool) -> str:
    return ", one at its end" if rectified else ", none at its end"
