"""The activations that belong to layers, as words: in cards, in files' names, on pages and in messages.

A card names them per tap, with what parametrises them: ``relu``, ``sigmoid``, ``leaky_relu(negative_slope=0.2)``;
``linear`` where a layer has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fmedge.errors import UsageError

RELU = "relu"
LINEAR = "linear"
UNKNOWN = "activation"
"""Stands in for the name in cards of Keras models that were written before they held it."""

_FORM = re.compile(r"[A-Za-z0-9_]{1,40}(\([A-Za-z0-9_=., -]{1,80}\))?")


def is_function(text: object) -> bool:
    """Whether a text can be the name of an activation."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def short_name(function: str) -> str:
    """The name without parameters: ``leaky_relu``."""
    return function.partition("(")[0]


def spoken(function: str) -> str:
    """The name in a sentence: ``ReLU``, or as it stands in the card."""
    return "ReLU" if function == RELU else "its activation" if function == UNKNOWN else function


def view_words(function: str) -> Mapping[str, str]:
    """What the views of maps are called: ``relu``, the layer's own output, and ``raw``, what its activation gets."""
    if function == LINEAR:
        return {"relu": "no activation", "raw": "no activation"}
    return {"relu": f"after {spoken(function)}", "raw": f"before {spoken(function)}"}


def require_both(layer: str, function: str, *, before: bool) -> None:
    """Check that a page can show a layer's output and the values before its activation, given one of them.

    Args:
        layer: Its name.
        function: The activation that belongs to it.
        before: Whether the given values are those before it.

    Raises:
        UsageError: It cannot: of all activations it has ReLU alone, and none, and of ReLU no inverse.
    """
    if function not in (RELU, LINEAR):
        raise UsageError(
            f"'{layer}' ends in {spoken(function)}, which a page cannot compute: it has ReLU alone.",
            hint="Make two: --activation relu and --activation none.",
        )
    if function == RELU and not before:
        raise UsageError(
            f"'{layer}' is shown after ReLU: there is no before.", hint="For both, take --activation none."
        )
