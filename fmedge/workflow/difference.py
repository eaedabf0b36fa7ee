"""Measure how much the maps of two models, or of one model on two engines, differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.data.feature_maps import FeatureMaps
from fmedge.errors import UsageError
from fmedge.model.activations import LINEAR, UNKNOWN
from fmedge.model.parity import Parity, gate_for, measure_parity
from fmedge.model.submodel import Activation
from fmedge.runtime.backends import BACKENDS


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison.

    Attributes:
        model: A model file; None means the artifact that the other options name.
        backend: The engine that it runs on; None means the first that is installed.
    """

    model: Path | None
    backend: str | None


def parse_side(text: str) -> Side:
    """Parse ``MODEL``, ``ENGINE`` or ``MODEL@ENGINE``."""
    names = [backend.name for backend in BACKENDS]
    if text in names:
        return Side(None, text)
    model, mark, backend = text.rpartition("@")
    return Side(Path(model), backend) if mark and backend in names else Side(Path(text), None)


@dataclass(frozen=True, slots=True)
class ChannelDifference:
    """The difference between both sides in one channel.

    Attributes:
        channel: Its number, from 0.
        snr_db: Signal-to-noise ratio of the second side relative to the first, in dB; infinite if they are equal, minus
            infinite if the first is zero throughout and the second is not.
        max_error: Largest absolute difference.
    """

    channel: int
    snr_db: float
    max_error: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between both sides in one layer; the first side is the reference.

    Attributes:
        layer: Keras' name of the layer.
        parity: Agreement of the whole tensor; its gate is that of the less exact precision of the two.
        channels: Every channel, the one that agrees least first.
    """

    layer: str
    parity: Parity
    channels: tuple[ChannelDifference, ...]

    @property
    def snr_db(self) -> npt.NDArray[np.float64]:
        """The signal-to-noise ratios in the order of the channels: float64, (C,), in dB."""
        return np.array([each.snr_db for each in sorted(self.channels, key=lambda each: each.channel)])

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold: an infinite ratio becomes None."""
        channels = [
            {**asdict(channel), "snr_db": channel.snr_db if np.isfinite(channel.snr_db) else None}
            for channel in self.channels
        ]
        return {"layer": self.layer, "parity": self.parity.to_dict(), "channels": channels}


_EXACTNESS = ("fp32", "fp16", "int8")


def compare_maps(first: Mapping[str, FeatureMaps], second: Mapping[str, FeatureMaps]) -> list[Difference]:
    """Compare the maps of one photo, layer by layer.

    Args:
        first: Maps per tap: the reference.
        second: Maps to compare with it; only taps that both have are compared.

    Raises:
        UsageError: They have no tap in common, or a tap differs in its activation or size.
    """
    common = [name for name in first if name in second]
    if not common:
        raise UsageError(f"Nothing to compare: A has {', '.join(first)}; B has {', '.join(second)}.")
    return [_compare(first[name], second[name]) for name in common]


def _compare(first: FeatureMaps, second: FeatureMaps) -> Difference:
    if not _comparable(first.shown, second.shown):
        raise UsageError(
            f"{first.layer}: A shows activation {first.shown}, B shows {second.shown}. Use the same for both."
        )
    if first.maps.shape != second.maps.shape:
        shapes = (" x ".join(map(str, maps.maps.shape[1:])) for maps in (first, second))
        raise UsageError(f"{first.layer}: A is {', B is '.join(shapes)}. Compare models of the same size.")
    precisions = (maps.provenance.card.precision for maps in (first, second))
    gate = gate_for(max(precisions, key=_EXACTNESS.index), first.layer)
    return Difference(first.layer, measure_parity(second.maps, first.maps, gate), _channels(first.maps, second.maps))


def _comparable(*shown: str) -> bool:
    """Tell whether both sides show the same values of a layer: a linear layer's output counts as ``none``."""
    sides = {str(Activation.NONE) if side == LINEAR else side for side in shown}
    return len(sides) == 1 or (UNKNOWN in sides and Activation.NONE not in sides)


def _channels(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> tuple[ChannelDifference, ...]:
    """Compare every channel and sort: the least agreement first, and among equals the larger error first."""
    expected = first.astype(np.float64)
    error = second - expected
    signal, noise = (np.square(values).sum(axis=(0, 2, 3)) for values in (expected, error))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(noise == 0, np.inf, 10 * np.log10(signal / noise))
    largest = np.abs(error).max(axis=(0, 2, 3))
    found = [
        ChannelDifference(channel, float(ratios[channel]), float(largest[channel])) for channel in range(len(ratios))
    ]
    return tuple(sorted(found, key=lambda channel: (channel.snr_db, -channel.max_error)))


def worst(differences: Sequence[Difference]) -> float:
    """Return the smallest signal-to-noise ratio of all layers, in dB."""
    return min(difference.parity.snr_db for difference in differences)
