"""Measure how much the maps of two models, or of one model on two engines, differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fmedge.data.channel_errors import ChannelErrors, ErrorSums, measure_errors
from fmedge.data.feature_maps import FeatureMaps
from fmedge.errors import UsageError
from fmedge.model.activations import LINEAR, UNKNOWN
from fmedge.model.parity import Gate, Parity, gate_for
from fmedge.model.submodel import Activation
from fmedge.model.tap_codes import TapCodes
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
    """The difference between both sides in one channel; see :class:`fmedge.data.channel_errors.ChannelErrors`.

    Attributes:
        channel: Its number, from 0.
        snr_db: Signal-to-noise ratio of the second side relative to the first, in dB; infinite if they are equal, minus
            infinite if the first is zero throughout and the second is not.
        bias: Mean of the second side minus the first.
        max_error: Largest absolute difference.
        saturated: Share of the second side's values that are cut off.
        scale: What one step of the second side's codes stands for; None where it has none, or they are not known.
        zero_point: The code that stands for 0; None likewise.
    """

    channel: int
    snr_db: float
    bias: float
    max_error: float
    saturated: float
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between both sides in one layer, over one photo or several; the first side is the reference.

    Attributes:
        layer: Keras' name of the layer.
        parity: Agreement of the whole tensor; its gate is that of the less exact precision of the two.
        errors: The figures of every channel.
    """

    layer: str
    parity: Parity
    errors: ChannelErrors

    @property
    def channels(self) -> tuple[ChannelDifference, ...]:
        """Every channel: the one that agrees least first, and among equals the one with the larger error."""
        errors = self.errors
        found = [
            ChannelDifference(
                channel,
                snr_db=float(errors.snr_db[channel]),
                bias=float(errors.bias[channel]),
                max_error=float(errors.max_error[channel]),
                saturated=float(errors.saturated[channel]),
                scale=None if math.isnan(errors.scale[channel]) else float(errors.scale[channel]),
                zero_point=None if math.isnan(errors.zero_point[channel]) else int(errors.zero_point[channel]),
            )
            for channel in range(len(errors.snr_db))
        ]
        return tuple(sorted(found, key=lambda each: (each.snr_db, -each.max_error)))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold: what is not finite becomes None."""
        channels = [
            {
                name: None if value is None or not math.isfinite(value) else value
                for name, value in asdict(channel).items()
            }
            for channel in self.channels
        ]
        return {"layer": self.layer, "parity": self.parity.to_dict(), "channels": channels}


_EXACTNESS = ("fp32", "fp16", "int8")


class Comparison:
    """Adds up how far both sides differ, photo by photo; maps are not kept.

    Args:
        codes: Per tap the second side's codes, where they are known.
    """

    def __init__(self, codes: Mapping[str, TapCodes] | None = None) -> None:
        self._codes = codes or {}
        self._sums: dict[str, tuple[ErrorSums, Gate]] = {}

    def add(self, first: Mapping[str, FeatureMaps], second: Mapping[str, FeatureMaps]) -> list[Difference]:
        """Compare the maps of one more photo, layer by layer.

        Args:
            first: Maps per tap: the reference.
            second: Maps to compare with it; only taps that both have are compared.

        Returns:
            The difference on this photo alone.

        Raises:
            UsageError: They have no tap in common, or a tap differs in its activation or size.
        """
        common = [name for name in first if name in second]
        if not common:
            raise UsageError(f"Nothing to compare: A has {', '.join(first)}; B has {', '.join(second)}.")
        gates = {name: _gate(first[name], second[name]) for name in common}
        found: list[Difference] = []
        for name, gate in gates.items():
            sums = measure_errors(first[name].maps[0], second[name].maps[0], self._codes.get(name))
            self._sums[name] = (self._sums[name][0] + sums if name in self._sums else sums, gate)
            found.append(Difference(name, sums.parity(gate), sums.channels()))
        return found

    def differences(self) -> list[Difference]:
        """Return the difference over all photos, layer by layer."""
        return [Difference(name, sums.parity(gate), sums.channels()) for name, (sums, gate) in self._sums.items()]


def compare_maps(first: Mapping[str, FeatureMaps], second: Mapping[str, FeatureMaps]) -> list[Difference]:
    """Compare the maps of one photo; see :meth:`Comparison.add`."""
    return Comparison().add(first, second)


def _gate(first: FeatureMaps, second: FeatureMaps) -> Gate:
    """Check that two maps can be compared; return the gate of the less exact one."""
    if not _comparable(first.shown, second.shown):
        raise UsageError(
            f"{first.layer}: A shows activation {first.shown}, B shows {second.shown}. Use the same for both."
        )
    if first.maps.shape != second.maps.shape:
        shapes = (" x ".join(map(str, maps.maps.shape[1:])) for maps in (first, second))
        raise UsageError(f"{first.layer}: A is {', B is '.join(shapes)}. Compare models of the same size.")
    precisions = (maps.provenance.card.precision for maps in (first, second))
    return gate_for(max(precisions, key=_EXACTNESS.index), first.layer)


def _comparable(*shown: str) -> bool:
    """Tell whether both sides show the same values of a layer: a linear layer's output counts as ``none``."""
    sides = {str(Activation.NONE) if side == LINEAR else side for side in shown}
    return len(sides) == 1 or (UNKNOWN in sides and Activation.NONE not in sides)


def worst(differences: Sequence[Difference]) -> float:
    """Return the smallest signal-to-noise ratio of all layers, in dB."""
    return min(difference.parity.snr_db for difference in differences)
