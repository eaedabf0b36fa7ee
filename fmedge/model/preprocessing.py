"""What is done to pixels before a network's first layer, and names for the usual ways."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import cast

from fmedge.errors import UsageError, closest
from fmedge.system.choices import one_of, require_switch

MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean of the ImageNet training pixels per channel, 0 to 255, blue first. Keras' ``vgg16.preprocess_input`` (its
"caffe" mode) subtracts it and does not scale."""

ORDERS = ("RGB", "BGR", "GREY")
"""Orders of a network's channels. Grey is the luma of ITU-R BT.601, rounded as by Pillow's ``convert("L")``."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the model does to the pixels before its first layer: (x * scale - mean) / std, x from 0 to 255.

    Attributes:
        channel_order: Order of the channels that the weights were trained on, one of :data:`ORDERS`.
        mean: Subtracted per channel, in that order, or one number for all of them.
        in_model: Whether the model file does it (its input is then plain RGB).
        scale: Factor of every value.
        std: Divisor per channel, in that order, or one number for all of them.

    Raises:
        UsageError: A number is not finite, a factor or divisor is 0, or there are neither one nor as many numbers as
            channels.
    """

    channel_order: str
    mean: tuple[float, ...]
    in_model: bool = True
    scale: float = 1.0
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        one_of("order of channels", self.channel_order, ORDERS)
        require_switch("in_model", self.in_model)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _floats(name, getattr(self, name)))
        object.__setattr__(self, "scale", *_floats("scale", (self.scale,)))
        if not all(map(math.isfinite, (self.scale, *self.mean, *self.std))) or 0 in (self.scale, *self.std):
            raise UsageError("Preprocessing takes finite numbers, and neither scale nor std may be 0.")
        allowed = (1,) if self.channel_order == "GREY" else (1, 3)
        if len(self.mean) not in allowed or len(self.std) not in allowed:
            raise UsageError(
                f"Preprocessing of {self.channel_order} pixels takes {' or '.join(map(str, allowed))} numbers for mean "
                f"and std. Got {len(self.mean)} and {len(self.std)}."
            )

    @property
    def is_plain(self) -> bool:
        """Whether the values stay as they are."""
        factors, offsets = self.affine()
        return set(factors) == {1.0} and not any(offsets)

    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the same formula as x * factor - offset: one of each per channel, in the model's order."""
        count = 1 if self.channel_order == "GREY" else 3
        mean, std = (values * (count // len(values)) for values in (self.mean, self.std))
        return tuple(self.scale / each for each in std), tuple(m / s for m, s in zip(mean, std, strict=True))

    def describe(self) -> str:
        """Return it in words."""
        where = "inside the model" if self.in_model else "left to the caller"
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        if self.is_plain:
            return f"{self.channel_order}, 0 to 255, as it is"
        if self.scale == 1.0 and set(self.std) == {1.0}:
            return f"{self.channel_order} minus {mean}, {where}"
        return f"{self.channel_order}, (x * {self.scale:g} - ({mean})) / ({std}), {where}"


def _floats(what: str, values: object) -> tuple[float, ...]:
    """Convert numbers to floats, so that equal formulas compare equal.

    Raises:
        UsageError: They are not numbers.
    """
    found = tuple(cast("Sequence[object]", values)) if isinstance(values, (tuple, list)) else (values,)
    if not all(isinstance(value, Real) for value in found) or any(isinstance(value, bool) for value in found):
        raise UsageError(f"{what}: got {values!r}. Allowed: numbers.")
    return tuple(float(cast("float", value)) for value in found)


CAFFE = "caffe"
NONE = "none"

PREPROCESSINGS: Mapping[str, Preprocessing] = {
    CAFFE: Preprocessing("BGR", MEAN_BGR),
    "tf": Preprocessing("RGB", (1.0,), scale=1 / 127.5),
    "torch": Preprocessing("RGB", (0.485, 0.456, 0.406), scale=1 / 255, std=(0.229, 0.224, 0.225)),
    "unit": Preprocessing("RGB", (0.0,), scale=1 / 255),
    NONE: Preprocessing("RGB", (0.0,)),
}
"""Preprocessings by name. The first three are the modes of ``keras.applications.imagenet_utils.preprocess_input``;
``unit`` gives 0 to 1, and ``none`` is for models that prepare the pixels themselves and take 0 to 255."""

_SYNONYMS = {"vgg16": CAFFE}


def canonical(word: object) -> str:
    """Return the name under which :data:`PREPROCESSINGS` lists a preprocessing.

    Raises:
        UsageError: There is none.
    """
    name = _SYNONYMS.get(str(word), str(word))
    if name not in PREPROCESSINGS:
        words = ", ".join(PREPROCESSINGS)
        raise UsageError(f"Unknown preprocessing '{word}'.{closest(str(word), PREPROCESSINGS)} Allowed: {words}.")
    return name


def for_channels(chosen: str | Preprocessing, channels: int | None) -> Preprocessing:
    """Return the chosen preprocessing for a model with this many channels.

    Args:
        chosen: A name, or the formula itself.
        channels: 1 for a model that takes grey; others take three.

    Raises:
        UsageError: It has a number for each of three channels, and the model takes grey.
    """
    found = PREPROCESSINGS[canonical(chosen)] if isinstance(chosen, str) else chosen
    if channels != 1:
        return found
    if len(found.mean) > 1 or len(found.std) > 1:
        name, flags = (
            (f"preprocessing {chosen}", ("--preprocessing",))
            if isinstance(chosen, str)
            else ("Such a preprocessing", ())
        )
        raise UsageError(f"{name} has a mean per colour; this model takes grey. Allowed: tf, unit, none.", flags=flags)
    return replace(found, channel_order="GREY")
