"""The activations of layers as words: in cards, in file names, on pages and in messages.

A card names one per tap, with its parameters: ``relu``, ``sigmoid``, ``leaky_relu(negative_slope=0.2)``; ``linear``
where a layer has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fmedge.errors import UsageError

RELU = "relu"
LINEAR = "linear"
UNKNOWN = "activation"
"""Stands for the name in cards of Keras models that were written before cards held it."""

_FORM = re.compile(r"[A-Za-z0-9_]{1,40}(\([A-Za-z0-9_=., -]{1,80}\))?")


def is_function(text: object) -> bool:
    """Return whether a text can be the name of an activation."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def short_name(function: str) -> str:
    """Return the name without parameters: ``leaky_relu``."""
    return function.partition("(")[0]


def spoken(function: str) -> str:
    """Return the name as used in a sentence: ``ReLU``, or as it is in the card."""
    return "ReLU" if function == RELU else "its activation" if function == UNKNOWN else function


def view_words(function: str) -> Mapping[str, str]:
    """Name the two views of feature maps: ``relu``, the layer's output, and ``raw``, its activation's input."""
    if function == LINEAR:
        return {"relu": "no activation", "raw": "no activation"}
    return {"relu": f"after {spoken(function)}", "raw": f"before {spoken(function)}"}


def require_both(layer: str, function: str, *, before: bool) -> None:
    """Check that a page can show both a layer's output and the values before its activation, given one of them.

    Args:
        layer: Its name.
        function: The layer's activation.
        before: Whether the given values are those before the activation.

    Raises:
        UsageError: It cannot: a page can compute ReLU and no other activation, and cannot invert ReLU.
    """
    if function not in (RELU, LINEAR):
        raise UsageError(
            f"'{layer}' ends in {spoken(function)}; a page can compute only ReLU.",
            hint="Make two pages: --activation relu and --activation none.",
        )
    if function == RELU and not before:
        raise UsageError(
            f"These maps of '{layer}' are after ReLU; the values before it are lost.",
            hint="For both, use --activation none.",
        )
