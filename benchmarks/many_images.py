"""Measure many images: decoding alone, inference alone, and both together as `extract_many` does them.

The least possible time is the CPU time of the first two divided by the number of cores. Maps are computed and nothing
is written. Each figure comes from its own process; the photos are repeated, in order of their names, up to the
requested number. `one_session` is the other way to share a machine: one session with all cores, while threads decode
photos. Peak memory is measured at a tenth of the photos and at all of them.

    python benchmarks/many_images.py --weights vgg16.h5 --photos photos/
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fmedge.data.image_list import expand_images
from fmedge.data.images import load_photo
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import obtain_artifact
from fmedge.workflow.batch import run_many
from fmedge.workflow.request import request_artifact


def main() -> None:
    """Measure, print the figures as JSON on stdout and a line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=Path)
    parser.add_argument("--weights", default="untrained", help="a Keras .h5 file of VGG16, imagenet or untrained")
    parser.add_argument("--layer", default="block2_conv2")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--count", type=int, default=300, help="number of photos")
    parser.add_argument(
        "--rounds", type=int, default=3, help="turns of every task; the one with the median wall time counts"
    )
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    request = request_artifact(chosen.layer, weights=chosen.weights, models=chosen.models)
    artifact = obtain_artifact(request)
    if chosen.task:
        photos = itertools.islice(itertools.cycle(expand_images([chosen.photos])), chosen.count)
        print(json.dumps(_time(chosen.task, artifact, list(photos))))
        return
    turns = [{task: _measure(task, chosen.count) for task in TASKS} for _ in range(chosen.rounds)]
    _report(chosen, turns, few=_measure("together", max(1, chosen.count // 10)))


def _report(chosen: argparse.Namespace, turns: list[dict[str, dict[str, float]]], few: dict[str, float]) -> None:
    median = {
        task: sorted((turn[task] for turn in turns), key=lambda row: row["wall_s"])[len(turns) // 2] for task in TASKS
    }
    cores = len(os.sched_getaffinity(0))
    least_s = (median["decode"]["cpu_s"] + median["infer"]["cpu_s"]) / cores
    together, other = (median[task]["wall_s"] / least_s for task in ("together", "one_session"))
    growth = median["together"]["peak_bytes"] / few["peak_bytes"] - 1
    figures = {
        "layer": chosen.layer, "count": chosen.count, "cores": cores, "least_s": least_s, "over_least": together,
        "one_session_over_least": other, "memory_growth": growth, "median": median, "few": few, "turns": turns,
    }  # fmt: skip
    print(json.dumps(figures, indent=2))
    print(
        f"{chosen.count} photos, {chosen.layer}, {cores} cores: {median['together']['wall_s']:.2f} s, "
        f"{together:.3f} of the least possible (one session: {other:.3f}); "
        f"{median['together']['peak_bytes'] / 1e6:.0f} MB, {growth:+.1%} of that for a tenth of the photos",
        file=sys.stderr,
    )


def _measure(task: str, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--task", task, "--count", str(count)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _time(task: str, artifact: Artifact, photos: list[Path]) -> dict[str, float]:
    steps = TASKS[task](artifact, photos)
    next(steps)  # what is not counted
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in steps:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "peak_bytes": peak}


def _decode(artifact: Artifact, photos: list[Path]) -> Iterator[None]:
    yield
    for photo in photos:
        _pixels(photo)


def _infer(artifact: Artifact, photos: list[Path]) -> Iterator[None]:
    images = [_pixels(photo) for photo in dict.fromkeys(photos)]
    with open_session(artifact, RunOptions(threads=1, spinning=False)) as session:
        session.run(images[0])
        yield
        for _, image in zip(photos, itertools.cycle(images)):
            session.run(image)


def _together(artifact: Artifact, photos: list[Path]) -> Iterator[None]:
    yield
    for _ in run_many(artifact, photos, lambda _, maps: maps):
        pass


def _one_session(artifact: Artifact, photos: list[Path]) -> Iterator[None]:
    yield
    with open_session(artifact, RunOptions(spinning=False)) as session:
        for image in _decoded_ahead(photos):
            session.run(image)


def _decoded_ahead(photos: Iterable[Path]) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(2) as pool:
        waiting = deque()
        for photo in photos:
            waiting.append(pool.submit(_pixels, photo))
            if len(waiting) == 4:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _pixels(photo: Path) -> np.ndarray:
    return load_photo(photo, (224, 224)).pixels[np.newaxis]


TASKS = {"decode": _decode, "infer": _infer, "together": _together, "one_session": _one_session}


if __name__ == "__main__":
    main()
