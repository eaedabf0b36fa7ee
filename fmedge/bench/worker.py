"""The worker: load one model and run it on request, in a process that does nothing else.

:mod:`fmedge.bench.worker_pipe` carries its requests and answers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.bench.worker_pipe import serve
from fmedge.errors import UsageError
from fmedge.model.artifact import read_artifact
from fmedge.model.parity import GATES
from fmedge.model.run_options import RunOptions
from fmedge.runtime.backends import find_backend
from fmedge.runtime.opening import engine_version, open_bounded
from fmedge.runtime.placement import describe_placement
from fmedge.runtime.session import Session
from fmedge.system import address_space
from fmedge.system.machine import busy_seconds
from fmedge.system.memory import peak_bytes
from fmedge.system.stderr import own_process

_INPUTS = 8
_INPUT_BYTES = 64 << 20
"""Most batches that runs take in turn, and their total size in bytes; each is copied to new memory for every run, so
that no engine can reuse what it read before."""

_WINDOW = 5
_SETTLED = 0.03
_WARM_UP_S = 5.0
_WARM_UP_RUNS = 100
"""Warm-up ends when the median of five runs is within 3 % of that of the five before: then caches, thread pools and
clocks have settled, and one outlier in five changes neither median. It ends after five seconds or a hundred runs in any
case: a machine that has not settled by then will not, and the row says so."""

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


class Bench:
    """A loaded model and the images it is run on; every public method serves one request and returns its answer."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._images: list[Images] = []
        self._runs = 0
        self._stages: Callable[[], dict[str, float]] | None = None

    def load(
        self, path: str, backend: str, run: Mapping[str, Any], batch: int, size: list[int], image: str | None = None
    ) -> dict[str, object]:
        """Load the model, run it once, and report how long both took and what computes."""
        version = engine_version(find_backend(backend))  # imports the engine, which does not count
        options = RunOptions(backend, **run, spinning=False)  # idle threads sleep while other workers have their turn
        start = time.perf_counter_ns()
        artifact = read_artifact(Path(path))
        session = self._session = open_bounded(artifact, options, (batch, *size, 3))
        loaded = time.perf_counter_ns()
        self._images = _images(batch, (size[0], size[1]), None if image is None else Path(image))
        first = self._once()
        return {
            "load_s": (loaded - start) / 1e9,
            "first_run_s": first,
            "engine_version": version,
            "active_provider": session.active_provider,
            "placement": describe_placement(session.placement, session.active_provider),
            "file_sha256": artifact.card.file_sha256,
        }

    def warm_up(self, least_s: float) -> dict[str, object]:
        """Run until the median is steady; report whether it is, how many runs it took, and their last median.

        Args:
            least_s: Least time, in seconds: a processor that gets hot may need minutes until its clock has settled.
        """
        seconds: list[float] = []
        start = time.perf_counter()
        while time.perf_counter() < start + least_s:
            seconds.append(self._once())
        until, most = time.perf_counter() + _WARM_UP_S, len(seconds) + _WARM_UP_RUNS
        steady = _is_steady(seconds)
        while not steady and len(seconds) < most and time.perf_counter() < until:
            seconds.append(self._once())
            steady = _is_steady(seconds)
        return {"warm_up_runs": len(seconds), "run_s": statistics.median(seconds[-_WINDOW:]), "steady": steady}

    def turn(self, runs: int, seconds: float) -> dict[str, object]:
        """Run at least that often and that long; the first, which finds others' data in the caches, does not count."""
        self._once()
        found: list[float] = []
        busy, cpu, start_s, start = busy_seconds(), time.process_time(), time.monotonic(), time.perf_counter()
        while len(found) < runs or time.perf_counter() - start < seconds:
            found.append(self._once())
        wall_s, cpu_s, busy_after = time.perf_counter() - start, time.process_time() - cpu, busy_seconds()
        return {
            "seconds": found,
            "start_s": start_s,
            "cpu_s": cpu_s,
            "wall_s": wall_s,
            "others_s": None if busy is None or busy_after is None else busy_after - busy - cpu_s,
            "peak_memory_bytes": peak_bytes(),
        }

    def judge(self, reference: str) -> dict[str, object]:
        """Run the images of an archive one by one, and report the parity of the worst with the archive's maps.

        Args:
            reference: See :func:`fmedge.workflow.references.save_reference`.
        """
        from fmedge.workflow.references import judge

        return judge(self._loaded(), Path(reference), GATES["fp32"]).to_dict()

    def stages(self, image: str) -> dict[str, object]:
        """Go once from the photo to its page, and report the seconds of each stage."""
        if self._stages is None:
            from fmedge.bench.stages import prepare_stages

            self._stages = prepare_stages(self._loaded(), Path(image))
        return {"stages": self._stages()}

    def _once(self) -> float:
        """Return the seconds of one run, on images copied to new memory."""
        session = self._loaded()
        images = self._images[self._runs % len(self._images)].copy()
        self._runs += 1
        start = time.perf_counter_ns()
        maps = session.run(images)
        seconds = (time.perf_counter_ns() - start) / 1e9
        del maps  # freed outside the measured time
        return seconds

    def _loaded(self) -> Session:
        if self._session is None:
            raise UsageError("No model is loaded. Send a load order first.")
        return self._session


def _is_steady(seconds: list[float]) -> bool:
    if len(seconds) < 2 * _WINDOW:
        return False
    before, last = (statistics.median(part) for part in (seconds[-2 * _WINDOW : -_WINDOW], seconds[-_WINDOW:]))
    return abs(last - before) <= _SETTLED * before


def _images(batch: int, size: tuple[int, int], image: Path | None) -> list[Images]:
    if image is not None:
        from fmedge.data.images import load_photo  # imported here so that Pillow's memory counts only where needed

        pixels = load_photo(image, size).pixels
        return [np.repeat(pixels[np.newaxis], batch, axis=0)]
    generator = np.random.default_rng(0)
    count = max(1, min(_INPUTS, _INPUT_BYTES // (batch * size[0] * size[1] * 3)))
    return [generator.integers(0, 256, (batch, *size, 3), dtype=np.uint8) for _ in range(count)]


if __name__ == "__main__":
    address_space.begin()
    bench = Bench()
    orders = (bench.load, bench.warm_up, bench.turn, bench.judge, bench.stages)
    with own_process():
        serve({order.__name__: order for order in orders})
