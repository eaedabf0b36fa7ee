"""Read the names of layers in what a user writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import cast

from fmedge.errors import UsageError
from fmedge.model.stock import VGG16
from fmedge.model.submodel import ALL, Activation, every_tap

DEFAULT_LAYER = "block1_conv1"

Layers = str | Sequence[str]
"""Layers of a network: a name, several joined by ``+``, ``all``; or a sequence of names, each taken literally."""


def tap_names(
    layer: object, activation: Activation, known: Collection[str] | None = None, *, source: str = VGG16
) -> tuple[str, ...]:
    r"""Return the layers that a text names: names joined by ``+``, or ``all``.

    Args:
        layer: The text, or a sequence of names, each taken literally; None or an empty text means
            :data:`DEFAULT_LAYER`. In a text a backslash makes the next character literal: ``a\+b`` is one layer, and so
            is ``\all``.
        activation: What to show with ``all``.
        known: The layers of the network, each of which may be written as it is, whatever is in its name; None for a
            stock network, where ``all`` may be used.
        source: The stock network.

    Raises:
        UsageError: It is neither, or ``all`` is used with another network.
    """
    if layer is None or layer == "":
        layer = DEFAULT_LAYER
    if isinstance(layer, Sequence) and not isinstance(layer, (str, bytes)):
        names = tuple(cast("Sequence[object]", layer))
        if all(isinstance(name, str) for name in names):
            return cast("tuple[str, ...]", names)
    if not isinstance(layer, str):
        raise UsageError(
            f"layer: got {layer!r}. Allowed: a name, or several with + between.", hint="All: fmedge layers."
        )
    if layer.strip() != ALL or ALL in (known or ()):
        return _split(layer, known or ())
    if known is not None:
        raise UsageError(
            "layer all knows stock networks alone.",
            hint="Name the layers of this one: --layer a+b.",
            flags=("--layer",),
        )
    return every_tap(source, activation)


def split_list(text: str, known: Collection[str] = ()) -> list[str]:
    """Split a list at its commas, each part as :func:`tap_names` takes it; commas in names of layers do not count.

    Raises:
        UsageError: It names nothing.
    """
    parts = re.split(r"(?<!\\),", text)
    found = list[str]()
    while parts:
        count = next(
            count
            for count in range(len(parts), 0, -1)
            if count == 1 or (known and all(name in known for name in _split(",".join(parts[:count]), known)))
        )
        found.append(",".join(parts[:count]).strip())
        del parts[:count]
    found = list(dict.fromkeys(filter(None, found)))
    if not found:
        raise UsageError(f"'{text}' is empty. Give one layer, or several separated by commas.")
    return found


def _split(text: str, known: Collection[str]) -> tuple[str, ...]:
    """Split a text at every ``+`` that is not part of a layer's name."""
    parts = re.split(r"(?<!\\)\+", text)
    found = list[str]()
    while parts:
        wholes = (("+".join(parts[:count]).strip(), count) for count in range(len(parts), 0, -1))
        whole, count = next(((whole, count) for whole, count in wholes if whole in known), ("", 1))
        found.append(whole or re.sub(r"\\(.)", r"\1", parts[0].strip()))
        del parts[:count]
    return tuple(found)
