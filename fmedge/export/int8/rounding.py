"""Round a kernel to whole steps so that the layer's output, rather than the kernel, changes as little as possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

POSITIONS = 16_384
"""Positions sampled in all photos together: 3.5 times the 4,608 inputs of VGG16's widest kernel."""

MAX_POSITIONS = 1_024
"""Largest number of positions sampled in one photo."""

DAMPING = 0.01
"""Share of the covariance's mean diagonal that is added to its diagonal (Frantar et al. 2022 use 1 %)."""

_BLOCK = 64
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Statistics of a convolution's input: its unfolded 3x3 patches, in the kernel's order (3, 3, in).

    Attributes:
        mean: (9 * in,), over all positions.
        covariance: (9 * in, 9 * in), over a sample of them.
    """

    mean: FloatArray = field(repr=False)
    covariance: FloatArray = field(repr=False)


def measure_moments(inputs: Iterable[npt.NDArray[np.uint8]], count: int) -> Moments:
    """Measure the statistics of a convolution's input over the photos, in constant memory.

    Sums and products of codes are whole numbers far below 2**53, so float64 holds them exactly, in whatever order a
    processor adds them.

    Args:
        inputs: Per photo, the codes that the layer reads, (H, W, in).
        count: Number of photos.
    """
    generator = np.random.Generator(np.random.PCG64(_SEED))
    most = min(MAX_POSITIONS, -(-POSITIONS // count))
    total = chosen = gram = np.zeros(())
    places = sampled = 0
    for codes in inputs:
        height, width, _ = codes.shape
        padded = np.pad(codes, ((1, 1), (1, 1), (0, 0)))
        views = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
        rows, columns = np.divmod(generator.permutation(height * width)[:most], width)
        patches = np.concatenate([view[rows, columns] for view in views], axis=1).astype(np.float64)
        gram = gram + patches.T @ patches
        chosen = chosen + patches.sum(axis=0)
        total = total + np.concatenate([view.sum(axis=(0, 1), dtype=np.int64) for view in views])
        sampled += len(rows)
        places += height * width
    centre = chosen / sampled
    return Moments(total / places, gram / sampled - np.outer(centre, centre))


def round_kernel(matrix: FloatArray, unit: FloatArray, covariance: FloatArray, limit: int) -> npt.NDArray[np.int8]:
    """Round to multiples of a unit so that, for the error e, e' covariance e becomes small rather than e' e.

    Each row compensates for the errors of the rows before it as far as they are correlated: GPTQ (Frantar et al. 2022)
    as Babai's nearest plane algorithm. With covariance = R R', R upper triangular, the error is |R' e|, which is
    cancelled row by row.

    Args:
        matrix: The kernel, (9 * in, out).
        unit: Real value of one step, (out,).
        covariance: From :class:`Moments`.
        limit: Largest magnitude of a step count, 127 or less.

    Returns:
        Step counts, (9 * in, out).
    """
    size = len(matrix)
    damped = covariance + np.diag(np.full(size, DAMPING * np.diag(covariance).mean() + 1e-6))
    factor = np.ascontiguousarray(np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1])
    steps = np.empty(matrix.shape, np.int8)
    errors = np.empty_like(matrix)
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        carried = factor[:start, start:end].T @ errors[:start]
        for row in range(start, end):
            correction = (carried[row - start] + factor[start:row, row] @ errors[start:row]) / factor[row, row]
            steps[row] = np.clip(np.rint((matrix[row] + correction) / unit), -limit, limit)
            errors[row] = matrix[row] - steps[row] * unit
    return steps
