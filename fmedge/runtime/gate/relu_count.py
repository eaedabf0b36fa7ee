"""ReLUs on the way from the image to each output: counted while a gate reads the graph, held against the card.

Numbers tell a wrong ReLU only where somebody compares them. A graph tells it without a run: VGG16 has one behind every
convolution, and the card says whether the last one is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fmedge.model.submodel import VGG16, Activation, SubModel
from fmedge.model.vgg16 import layers_through


class Way(NamedTuple):
    """What happens to values between the image and a place in the graph.

    Attributes:
        convolutions: On the way; of several ways the most.
        rectifiers: ReLUs on the way, by whatever operator; of several ways the most.
        rectified: Whether no value here can be below zero. Pixels cannot.
        twice: Whether something was rectified that was so already.
    """

    convolutions: int = 0
    rectifiers: int = 0
    rectified: bool = True
    twice: bool = False

    def convolved(self) -> Way:
        """Behind a convolution."""
        return self._replace(convolutions=self.convolutions + 1, rectified=False)

    def relu(self) -> Way:
        """Behind a ReLU."""
        return self._replace(
            rectifiers=self.rectifiers + 1,
            rectified=True,
            twice=self.twice or (self.rectified and bool(self.rectifiers)),
        )

    def clamped(self) -> Way:
        """Behind 8-bit codes of which the lowest stands for zero: they cut off what lies below, as ReLU does.

        Behind a ReLU they cut off nothing, and before the first convolution they hold pixels.
        """
        if self.rectified or not self.convolutions:
            return self
        return self._replace(rectifiers=self.rectifiers + 1, rectified=True)

    def other(self) -> Way:
        """Behind what may give values of both signs."""
        return self._replace(rectified=False)


IMAGE = Way()
"""At the image."""


def joined(ways: Sequence[Way]) -> Way | None:
    """Where several ways meet; None where there are none: behind constants."""
    if len(ways) < 2:
        return ways[0] if ways else None
    convolutions, rectifiers, rectified, twice = zip(*ways, strict=True)
    return Way(max(convolutions), max(rectifiers), all(rectified), any(twice))


def wrong_rectifiers(submodel: SubModel, ways: Mapping[str, Way]) -> str:
    """What is wrong with the ReLUs of a model, in words; empty where nothing is.

    Args:
        submodel: What the card says. Of a Keras model of the user's own nobody knows how many there should be, or
            whether its layers' activation is ReLU at all: it is not judged.
        ways: Per tap the way to it.
    """
    if submodel.source != VGG16:
        return ""
    raw = submodel.activation is Activation.NONE
    for tap in submodel.taps:
        way = ways.get(tap, IMAGE)
        wanted = sum(spec.kind == "conv" for spec in layers_through(tap)) - raw
        if way.twice:
            return f"a ReLU behind a ReLU on the way to '{tap}'"
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
