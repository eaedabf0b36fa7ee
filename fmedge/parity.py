"""How far one result is from another, and how far it may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.errors import ParityError


@dataclass(frozen=True, slots=True)
class Gate:
    """The bounds a result has to keep.

    Attributes:
        max_error_over_range: Largest difference allowed, over the range (max - min) of the reference.
            Scaled by the range because VGG16's activations reach 10^4: a fixed bound alarms falsely.
        min_snr_db: Smallest signal-to-noise ratio allowed, in dB.
        reason: Why the bounds are what they are.
    """

    max_error_over_range: float
    min_snr_db: float
    reason: str


GATES: dict[str, Gate] = {
    "fp32": Gate(
        max_error_over_range=1e-5,
        min_snr_db=100.0,
        reason="float32 rounding through 13 convolutions of up to 4,608 terms; engines differ in summation order only",
    ),
}
"""Gate per precision."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Measured agreement of a result with its reference.

    Attributes:
        max_error_over_range: max|result - reference| over (max - min) of the reference.
        snr_db: 10*log10(sum(reference^2) / sum((result - reference)^2)); infinite when equal.
        cosine: Cosine of the angle between the two as vectors; 1 when they point the same way.
        gate: The bounds applied.
    """

    max_error_over_range: float
    snr_db: float
    cosine: float
    gate: Gate

    @property
    def passed(self) -> bool:
        """Whether both bounds are kept. A NaN anywhere fails."""
        return self.max_error_over_range <= self.gate.max_error_over_range and self.snr_db >= self.gate.min_snr_db

    def describe(self) -> str:
        """The figures in words, for one line."""
        return f"{self.snr_db:.1f} dB SNR, max error {self.max_error_over_range:.1e} of the range"

    def require(self, what: str) -> None:
        """Check the bounds.

        Args:
            what: Name of what was compared, for the message.

        Raises:
            ParityError: A bound is broken.
        """
        if not self.passed:
            raise ParityError(
                f"{what} does not compute what its weights say: {self.describe()}; allowed: at least "
                f"{self.gate.min_snr_db:g} dB and {self.gate.max_error_over_range:g}. It was not kept."
            )

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them: an infinite ratio becomes None."""
        return {**asdict(self), "snr_db": self.snr_db if np.isfinite(self.snr_db) else None}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Parity:
        """The inverse of :meth:`to_dict`."""
        snr_db = float("inf") if data["snr_db"] is None else float(data["snr_db"])
        return cls(float(data["max_error_over_range"]), snr_db, float(data["cosine"]), Gate(**data["gate"]))


def measure_parity(result: npt.NDArray[np.floating], reference: npt.NDArray[np.floating], gate: Gate) -> Parity:
    """Compare two arrays of one shape, in float64.

    Args:
        result: What is judged.
        reference: What it is held against.
        gate: The bounds to apply.

    Raises:
        ParityError: The shapes differ.
    """
    if result.shape != reference.shape:
        raise ParityError(f"Shapes differ: {result.shape}, and {reference.shape} in the reference.")
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
