"""Let calls take turns: the timed loop inside a worker, and the loop that gives workers their turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from fmedge.bench.worker_pipe import Worker

Call = Callable[[np.ndarray], np.ndarray]

IMAGES = 8
"""Number of noise images used in turn, so that no run finds its input or its result in the cache."""

IMAGE_BYTES = 64 << 20
"""Most bytes of all images together; large batches get fewer."""


def pictures(batch: int = 1, size: tuple[int, int] = (224, 224)) -> list[np.ndarray]:
    """Make batches of noise (N, H, W, 3), the same in every call."""
    generator = np.random.default_rng(0)
    count = max(1, min(IMAGES, IMAGE_BYTES // (batch * size[0] * size[1] * 3)))
    return [generator.integers(0, 256, (batch, *size, 3), dtype=np.uint8) for _ in range(count)]


class TimedCall:
    """A call that is timed on other images in each run.

    Args:
        call: Turns a batch of uint8 RGB images (N, H, W, 3) into maps.
        batch: Images per call.
        size: Their height and width, in pixels.
    """

    def __init__(self, call: Call, batch: int = 1, size: tuple[int, int] = (224, 224)) -> None:
        self.call = call
        self.images = pictures(batch, size)
        self.count = 0

    def turn(self, runs: int, seconds: float) -> dict[str, object]:
        """Run at least that often and that long, after a run that does not count."""
        self.once()
        found: list[float] = []
        start = time.perf_counter()
        while len(found) < runs or time.perf_counter() - start < seconds:
            found.append(self.once())
        return {"seconds": found}

    def once(self) -> float:
        """Return the seconds of one run, without freeing its result."""
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
    """Let loaded workers run one after the other, A B A B, and collect the seconds of their runs.

    Args:
        workers: The workers by name.
        turns: Turns of each worker that count.
        warm_up: Turns of each worker before them that do not count.
        runs: Fewest runs of a turn.
        seconds: Least length of a turn.
        pause_s: Pause before each turn, so that the previous worker's threads have gone to sleep.
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
    """Start workers of a module in this folder, and end them at the end of the block."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(module, environment))
        return started[-1]

    try:
        yield start
    finally:
        for worker in started:
            worker.stop()
