"""Measure the machine's speed in matrix products and in copying, and compute the time a layer takes at that speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from fmedge.bench.worker_pipe import serve
from fmedge.data.bench_report import Limit
from fmedge.model.stock import LayerSpec
from fmedge.system.children import THREAD_VARIABLES

_SIDE = 1024
"""Rows and columns of the matrices: 2.1 * 10^9 operations on 12 MB, large enough for any blocking to work well."""

_PRODUCTS = 4
_COPIES = 3
"""Numbers of products and of copies per turn; the fastest of each counts."""

_COPY_BYTES = 64 << 20
"""Bytes copied at a time by all threads together: several times the caches of the machines that this is made for."""

_YARDSTICK_SIDE = 256
_YARDSTICK_S = 0.015
"""Side of the matrices and seconds of the reference load: products of small matrices, shared by all threads. One takes
0.2 ms on two cores, and a good part of it is handing over work and waiting for each other. Half and double the side
show the same states of the machine, less clearly."""

_FLOAT_BYTES = 4


def environment(threads: int) -> dict[str, str]:
    """Return the variables for a process that measures with that many threads, which sleep between products."""
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "OPENBLAS_THREAD_TIMEOUT": "4"}


def measure_pace(threads: int) -> dict[str, float]:
    """Measure one turn: the matrix product's operations per second, and bytes copied, read and written, per second."""
    left, right, product = (np.ones((_SIDE, _SIDE), np.float32) for _ in range(3))
    products = [_time(lambda: np.matmul(left, right, product)) for _ in range(_PRODUCTS)]
    count = _COPY_BYTES // _FLOAT_BYTES // threads
    targets = [np.zeros(count, np.float32) for _ in range(threads)]
    sources = [np.ones(count, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:  # NumPy copies without the interpreter's lock
        copies = [_time(lambda: list(pool.map(np.copyto, targets, sources))) for _ in range(_COPIES)]
    return {
        "flops": 2 * _SIDE**3 / min(products),
        "copy_bytes": 2 * count * threads * _FLOAT_BYTES / min(copies),
    }


def measure_yardstick(threads: int) -> dict[str, float]:
    """Measure the seconds of the reference load with that many threads: it shows the machine's state at this moment.

    The lower quartile counts: a single interruption is as long as twenty products.
    """
    left, right, product = (np.ones((_YARDSTICK_SIDE, _YARDSTICK_SIDE), np.float32) for _ in range(3))
    found: list[float] = []
    until = time.perf_counter() + _YARDSTICK_S
    while len(found) < _PRODUCTS or time.perf_counter() < until:
        found.append(_time(lambda: np.matmul(left, right, product)))
    return {"threads": threads, "seconds": sorted(found)[len(found) // 4]}


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def summarize(threads: int, turns: Sequence[dict[str, float]]) -> Limit:
    """Return the medians of several turns."""
    return Limit(threads, median(turn["flops"] for turn in turns), median(turn["copy_bytes"] for turn in turns))


def direct_seconds(layers: Sequence[LayerSpec], size: tuple[int, int], batch: int, limit: Limit) -> float:
    """Compute the least seconds of a direct float32 computation of some layers: the sum of their rooflines.

    A layer takes as long as its arithmetic or its memory traffic, whichever is longer: it reads its input (the first
    layer bytes, the others float32) and its weights, and writes its output, once each. Williams, Waterman and
    Patterson, "Roofline" (2009).

    Args:
        layers: The layers, from the first on.
        size: Height and width of the image, in pixels.
        batch: Images per run.
        limit: The machine's limit.
    """
    total = 0.0
    read = size[0] * size[1] * 3
    for spec in layers:
        channels, height, width = spec.output_shape(*size)
        written = channels * height * width * _FLOAT_BYTES
        moved = batch * (read + written) + spec.parameters * _FLOAT_BYTES
        total += max(2 * batch * spec.macs(*size) / limit.flops, moved / limit.copy_bytes)
        read = written
    return total


if __name__ == "__main__":
    serve({"pace": measure_pace, "yardstick": measure_yardstick})
