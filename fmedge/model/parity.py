"""Measure how far one result is from another, and define how far it may be."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.errors import ParityError
from fmedge.system.serde import build_record


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits that a result must meet.

    Attributes:
        max_error_over_range: Largest difference allowed, divided by the range (max - min) of the reference. Relative,
            because VGG16's activations reach 10^4 and a fixed limit would give false alarms. None where single values
            may be far off, as with 8 bits.
        min_snr_db: Smallest signal-to-noise ratio allowed, in dB.
        reason: Why the limits are what they are.
        min_cosine: Smallest cosine allowed; None where the ratio is enough.
    """

    max_error_over_range: float | None
    min_snr_db: float
    reason: str
    min_cosine: float | None = None

    def describe(self) -> str:
        """Return the limits in words."""
        words = [f"at least {self.min_snr_db:g} dB"]
        if self.max_error_over_range is not None:
            words.append(f"at most {self.max_error_over_range:g} of the range")
        if self.min_cosine is not None:
            words.append(f"a cosine of at least {self.min_cosine:g}")
        return ", ".join(words)


_FLOAT32_PEAK = 7.1 * math.sqrt(13 * 4608) * 2**-24
"""Largest error of a float32 result, relative to its range: 1.0e-4.

Rounding errs by up to 2**-24; a sum of n terms exceeds 7.1 * sqrt(n) times that with a probability below 3 * 10**-11
(Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019: 2 * exp(-7.1**2 / 2)), and the errors
of successive layers add up like independent ones. n is the fan-in of VGG16's widest kernel, 13 the number of its
convolutions."""

GATES: dict[str, Gate] = {
    "fp32": Gate(
        max_error_over_range=round(_FLOAT32_PEAK, 5),
        min_snr_db=100.0,
        reason="float32 rounding through 13 convolutions of up to 4,608 terms; engines differ in summation order only",
    ),
    "fp16": Gate(
        max_error_over_range=2e-3,
        min_snr_db=55.0,
        reason="weights, and on some engines values, rounded to 11 bits",
    ),
    "int8": Gate(
        max_error_over_range=None,
        min_snr_db=30.0,
        reason="8 bits per value at block 1; each block adds its own rounding, 2.5 dB are allowed for it",
        min_cosine=0.99,
    ),
}
"""Gate per precision, at the first block."""

_INT8_LOSS_PER_BLOCK_DB = 2.5
"""From 30 dB at block 1 to 20 dB at block 5, the usual figures for 8-bit convolution networks."""


PREDICTION_MARGIN_DB = 2.0
"""What an engine may lose compared with an exact computation of its model. Engines round the last digit of a scale
differently, which costs less than 0.1 dB; sums that overflow cost 9 to 20 dB."""


NOISE_ALLOWANCE_DB = 10.0
"""What an int8 model may lose on noise, which was not used for its calibration, compared with photos: 9 dB was measured
at block3_conv3."""


OWN_MARGIN_DB = 4.0
"""The same as :data:`PREDICTION_MARGIN_DB` for layers that are none of VGG16's. Some networks have layers of few values
that are not 0, where one code that falls to the other side moved the ratio by 2.7 dB."""

OWN_FLOOR_DB = 12.0
"""Smallest ratio of an int8 model at a layer that is none of VGG16's, where it is known what the model gives when it is
computed exactly: deep layers of MobileNets get no more than 15 dB from usual recipes."""


def gate_for(precision: str, layer: str, predicted_db: float | None = None, *, on_noise: bool = False) -> Gate:
    """Return the gate of a precision at a layer.

    Args:
        precision: Number format of the model.
        layer: The tap; deeper int8 layers may be noisier, and unknown ones as noisy as block 5.
        predicted_db: Signal-to-noise ratio of the model when it is computed exactly; None where it is not known.
        on_noise: Whether the prediction is for the parity image and not for photos.
    """
    gate, margin = GATES[precision], PREDICTION_MARGIN_DB
    block = re.match(r"block([1-5])_", layer)
    if precision == "int8" and block is None and predicted_db is not None:
        gate, margin = replace(gate, min_snr_db=OWN_FLOOR_DB, min_cosine=None), OWN_MARGIN_DB
    elif precision == "int8":
        depth = int(block[1]) if block else 5
        gate = replace(gate, min_snr_db=gate.min_snr_db - _INT8_LOSS_PER_BLOCK_DB * (depth - 1))
    if predicted_db is None:
        return gate
    if on_noise:
        gate = replace(gate, min_snr_db=gate.min_snr_db - NOISE_ALLOWANCE_DB, min_cosine=None)
    if predicted_db - margin <= gate.min_snr_db:
        return gate
    reason = f"{margin:g} dB less than the model gives when it is computed exactly"
    return replace(gate, min_snr_db=round(predicted_db - margin, 1), reason=reason)


@dataclass(frozen=True, slots=True)
class Parity:
    """Measured agreement of a result with its reference.

    Attributes:
        max_error_over_range: max|result - reference| over (max - min) of the reference.
        snr_db: 10*log10(sum(reference^2) / sum((result - reference)^2)); infinite when equal.
        cosine: Cosine of the angle between the two as vectors; 1 when they point the same way.
        gate: The limits applied.
    """

    max_error_over_range: float
    snr_db: float
    cosine: float
    gate: Gate

    @property
    def passed(self) -> bool:
        """Whether every limit is met. A NaN anywhere fails."""
        gate = self.gate
        return (
            self.snr_db >= gate.min_snr_db
            and (gate.max_error_over_range is None or self.max_error_over_range <= gate.max_error_over_range)
            and (gate.min_cosine is None or self.cosine >= gate.min_cosine)
        )

    def describe(self) -> str:
        """Return the figures in words, for one line."""
        return f"{self.snr_db:.1f} dB SNR, max error {self.max_error_over_range:.1e} of the range"

    def require(self, what: str) -> None:
        """Check that every limit is met.

        Args:
            what: Name of what was compared, for the message.

        Raises:
            ParityError: A limit is exceeded.
        """
        if not self.passed:
            raise ParityError(
                f"{what} does not compute what its weights define: {self.describe()}. Allowed: {self.gate.describe()}. "
                "It was not kept."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON: infinity dB becomes None, any other non-finite value the worst one."""
        worst = {"max_error_over_range": 1e300, "snr_db": -1e4, "cosine": -1.0}
        found = {name: value if math.isfinite(value := getattr(self, name)) else bad for name, bad in worst.items()}
        return {**asdict(self), **found, **({"snr_db": None} if self.snr_db == math.inf else {})}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Parity:
        """Build it from the output of :meth:`to_dict`.

        Raises:
            TypeError: See :func:`fmedge.system.serde.build`.
            ValueError: Likewise.
            KeyError: There is no ratio.
        """
        return build_record(cls, {**data, "snr_db": math.inf if data["snr_db"] is None else data["snr_db"]})


def measure_parity(result: npt.NDArray[np.floating], reference: npt.NDArray[np.floating], gate: Gate) -> Parity:
    """Compare two arrays of the same shape, in float64.

    Args:
        result: The array to judge.
        reference: The array to compare it with.
        gate: The limits to apply.

    Raises:
        ParityError: The shapes differ.
    """
    if result.shape != reference.shape:
        raise ParityError(f"Shapes differ: {result.shape}, but the reference has {reference.shape}.")
    expected = reference.astype(np.float64)
    difference = result.astype(np.float64) - expected
    signal = float(np.vdot(expected, expected))
    noise = float(np.vdot(difference, difference))
    spread = float(expected.max() - expected.min())
    largest = float(np.abs(difference).max())
    found = expected + difference
    norms = float(np.sqrt(signal * np.vdot(found, found)))
    if noise == 0.0:
        return Parity(0.0, float("inf"), 1.0, gate)
    return Parity(
        max_error_over_range=largest / spread if spread else float("inf"),
        snr_db=float(10 * np.log10(signal / noise)) if signal else float("-inf"),
        cosine=float(np.vdot(found, expected)) / norms if norms else 0.0,
        gate=gate,
    )
