"""Calls that take turns: the loop inside a worker, and the one that lets workers have their turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from fmedge.bench.worker_pipe import Worker

Call = Callable[[np.ndarray], np.ndarray]

IMAGES = 8
"""Pictures of noise, one after the other, so that no run finds its input or its result in the cache."""

IMAGE_BYTES = 64 << 20
"""Of all pictures together, at most; large batches get fewer."""


def pictures(batch: int = 1, size: tuple[int, int] = (224, 224)) -> list[np.ndarray]:
    """Batches of noise (N, H, W, 3), always the same."""
    generator = np.random.default_rng(0)
    count = max(1, min(IMAGES, IMAGE_BYTES // (batch * size[0] * size[1] * 3)))
    return [generator.integers(0, 256, (batch, *size, 3), dtype=np.uint8) for _ in range(count)]


class TimedCall:
    """A call, timed on pictures that are not those of the run before.

    Args:
        call: From a batch of uint8 RGB pictures (N, H, W, 3) to maps.
        batch: Pictures per call.
        size: Their height and width, in pixels.
    """

    def __init__(self, call: Call, batch: int = 1, size: tuple[int, int] = (224, 224)) -> None:
        self.call = call
        self.images = pictures(batch, size)
        self.count = 0

    def turn(self, runs: int, seconds: float) -> dict[str, object]:
        """Run at least so often and so long, after a run that does not count."""
        self.once()
        found: list[float] = []
        start = time.perf_counter()
        while len(found) < runs or time.perf_counter() - start < seconds:
            found.append(self.once())
        return {"seconds": found}

    def once(self) -> float:
        """Seconds of a run; freeing its result is not part of it."""
        image = self.images[self.count % len(self.images)].copy()
        self.count += 1
        start = time.perf_counter()
        maps = self.call(image)
        seconds = time.perf_counter() - start
        del maps
        return seconds


def take_turns(
    workers: Mapping[str, Worker],
    turns: int,
    *,
    warm_up: int = 2,
    runs: int = 3,
    seconds: float = 0.1,
    pause_s: float = 0.0,
) -> dict[str, list[float]]:
    """Let loaded workers run one after the other, A B A B, and gather the seconds of their runs.

    Args:
        workers: By name.
        turns: Of each, that count.
        warm_up: Turns of each before, that do not.
        runs: Of a turn, at least.
        seconds: Length of a turn, at least.
        pause_s: Before each turn, until the threads of the one before have gone to sleep.
    """
    found: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(turns + warm_up):
        for name, worker in workers.items():
            time.sleep(pause_s)
            run = worker.ask(300, do="turn", runs=runs, seconds=seconds)["seconds"]
            found[name] += run if turn >= warm_up else []
    return found


@contextmanager
def workers_at_hand(module: str, environment: Mapping[str, str] | None = None) -> Iterator[Callable[[], Worker]]:
    """Starts workers of a module in this folder, and ends them at its own end."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(module, environment))
        return started[-1]

    try:
        yield start
    finally:
        for worker in started:
            worker.stop()
