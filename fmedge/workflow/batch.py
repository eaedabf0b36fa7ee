"""Run one model over many images: decoding, running and further processing overlap, and results come in order."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.images import OpenedSource
from fmedge.errors import FmedgeError, ImageError, LimitExceeded, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.footprint import layer_bytes, run_bytes
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.runtime.backends import MAX_THREADS, default_threads, usable_cpus
from fmedge.runtime.gate.checks import require_artifact
from fmedge.runtime.opening import open_session
from fmedge.runtime.session import Session
from fmedge.system.address_space import is_thrifty
from fmedge.system.memory import available_bytes
from fmedge.workflow.extraction import Extraction, Resizing

MAX_WORKERS = 4
"""Largest number of workers, threads that process one image each. More would only cost memory: each has its own copy of
the model, and if there are more cores, its engine uses several threads."""

MOST_BESIDE_A_DEVICE = 8
"""Largest number of workers that decode and draw for one device: they need longer for a photo than the device."""

_MEMORY_SHARE = 0.5
"""Share of the free memory for sessions and the images being processed; the rest is for further processing."""

_WEIGHT_COPIES = 2
"""Copies of the weights in a session: the model's own and the engine's reordered one."""

_AHEAD = 2
"""Images per worker that are being processed or wait to be handed over: one more than the worker processes, so that a
slow image does not block the others."""

_OF_THE_IMAGE = (ImageError, LimitExceeded, UsageError)
"""Errors that concern a single image; all others concern the whole run."""

Result = TypeVar("Result")
Source = TypeVar("Source", bound=OpenedSource)


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """How the machine's resources are divided.

    Attributes:
        workers: Number of images processed at once.
        threads: CPU threads of each session; None leaves it to the engine. Workers share the sessions evenly.
        window: Largest number of images that are being processed or wait to be handed over.
    """

    workers: int
    threads: tuple[int | None, ...]
    window: int


def share_out(
    artifact: Artifact,
    run: RunOptions,
    resize: Resizing,
    images: int | None = None,
    *,
    single_threaded: bool = False,
) -> WorkerPlan:
    """Decide how many images are processed at once, and in how many sessions.

    On the CPU every worker has its own session with its share of the cores: an image run by one thread does not wait
    for other threads, and while one worker decodes, another computes. Measured at block2_conv2 on two cores, this takes
    1.05 times the CPU time of decoding and inference divided by the cores; a single session on both cores, with
    decoding in parallel, takes 1.16 times that. Any other device gets a single session, and the workers decode in
    parallel to it. A photo that keeps its own size may take most of the memory, so such photos are run one at a time.

    Args:
        artifact: The model.
        run: How it is run; ``threads`` is the number for all sessions together.
        resize: How photos are resized for the model.
        images: Number of images, if known.
        single_threaded: Whether each session on the CPU has one thread, so that no value depends on their number; there
            is then one for every core.
    """
    cores = default_threads(run.cpus) if run.threads is None else run.threads
    if not 1 <= cores <= max(MAX_THREADS, usable_cpus()):
        return WorkerPlan(1, (cores,), 1)  # opening the session raises the error
    if resize == "none" and artifact.card.options.size is None:
        return WorkerPlan(1, (1 if single_threaded and run.device == "cpu" else run.threads,), 1)
    if run.device != "cpu":
        workers = max(1, min(cores, MOST_BESIDE_A_DEVICE, _most_by_memory(artifact)))
        return WorkerPlan(workers, (run.threads,), workers * _AHEAD)
    most = MAX_THREADS if single_threaded else MAX_WORKERS
    workers = max(1, min(cores, most, _most_by_memory(artifact), images or most))
    if single_threaded:
        return WorkerPlan(workers, (1,) * workers, workers * _AHEAD)
    threads = tuple(cores // workers + (number < cores % workers) for number in range(workers))
    return WorkerPlan(workers, threads, workers * _AHEAD)


def _most_by_memory(artifact: Artifact) -> int:
    """Return how many workers fit into memory: each has a model, its largest layer and the outputs of its images."""
    if is_thrifty():
        return 1
    card, available = artifact.card, available_bytes()
    if available is None:
        return MAX_WORKERS
    wanted = artifact.size * _WEIGHT_COPIES
    if card.submodel.stock is not None:
        size = card.options.size or INPUT_SIZE
        count = card.options.batch or 1
        layers = card.submodel.stock_layers
        wanted += run_bytes(layers, count, *size)
        wanted += sum(_AHEAD * layer_bytes(spec, count, *size) for spec in layers if spec.name in card.submodel.taps)
    return int(available * _MEMORY_SHARE) // wanted


@dataclass
class _Place:
    """A session, opened by the first worker that needs it."""

    artifact: Artifact
    run: RunOptions
    turn: threading.Lock = field(default_factory=threading.Lock)
    session: Session | None = None

    def opened(self) -> Session:
        self.session = self.session or open_session(self.artifact, self.run)
        return self.session

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


class Sessions:
    """Sessions that several calls of :func:`run_many` use, one after the other, with the same model and options."""

    def __init__(self) -> None:
        self._places: list[_Place] = []

    def places(self, artifact: Artifact, run: RunOptions, threads: Sequence[int | None]) -> list[_Place]:
        """Return the sessions, which are opened when they are first needed."""
        self._places = self._places or [_Place(artifact, replace(run, threads=each)) for each in threads]
        return self._places

    def close(self) -> None:
        """Close them."""
        for place in self._places:
            place.close()
        self._places = []


@dataclass
class _Workers(Generic[Source, Result]):
    """The work of the threads in the pool.

    Attributes:
        job: What is done with every image.
        places: The sessions; each thread uses one of them.
        finish: See :func:`run_many`.
        stopped: Set when no results are needed any more.
    """

    job: Extraction
    places: Sequence[_Place]
    finish: Callable[[Source, FeatureMaps], Result]
    stopped: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _mine: threading.local = field(default_factory=threading.local)

    def take_place(self) -> None:
        """Assign a session to the current thread; each thread calls this first."""
        self._mine.place = self.places[next(self._numbers) % len(self.places)]

    def work(self, image: Source) -> dict[str, Result] | FmedgeError:
        """Process an image and return a result per tap, or the image's error.

        Raises:
            CancelledError: The result is not needed any more.
        """
        place: _Place = self._mine.place
        try:
            photo = self.job.load(image)
        except _OF_THE_IMAGE as error:
            return error
        with place.turn:
            self._go_on()
            session = place.opened()  # its errors concern the whole run
            try:
                taps = self.job.maps(session, photo)
            except _OF_THE_IMAGE as error:
                if isinstance(error, LimitExceeded) and self.job.run.device != "cpu" and self.job.resize != "none":
                    raise  # the next image takes as much: the card is full
                return error
        try:
            return {tap: self._finished(image, maps) for tap, maps in taps.items()}
        except _OF_THE_IMAGE as error:
            return error

    def _finished(self, image: Source, maps: FeatureMaps) -> Result:
        self._go_on()
        return self.finish(image, maps)

    def _go_on(self) -> None:
        if self.stopped.is_set():
            raise CancelledError


def run_many(
    artifact: Artifact,
    images: Iterable[Source],
    finish: Callable[[Source, FeatureMaps], Result],
    *,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    single_threaded: bool = False,
    sessions: Sessions | None = None,
) -> Generator[tuple[Source, dict[str, Result] | FmedgeError]]:
    """Run a model on many images, several at once.

    If the loop over the generator may end early, close it (``contextlib.closing``): it then waits for the images being
    processed, at most one per worker, and closes the sessions.

    Args:
        artifact: The model.
        images: JPEG, PNG, WebP or BMP files, or images of other kinds (see :func:`fmedge.data.images.load_photo`);
            taken only as they are needed.
        finish: Called with an image and its maps of a tap, by the worker that computed them; its result is yielded.
        resize: How the photos are resized for the model.
        run: How the model is run; None means the defaults.
        single_threaded: See :func:`share_out`.
        sessions: Sessions that stay open for the next call; None opens them here and closes them at the end.

    Yields:
        Each image, in order, with what ``finish`` returned per tap, or with the error if the image is unusable.
        Results are not kept after they are handed over, and no more images are being processed or waiting than
        :func:`share_out` allows.

    Raises:
        BackendUnavailable: The engine is not installed.
        ProviderUnavailable: The device cannot be used here.
        ArtifactError: The engine refuses the model.
        UsageError: The engine or device does not exist, or the number of threads is not allowed.
        FmedgeError: What ``finish`` raises, unless it concerns a single image (ImageError, UsageError, LimitExceeded).
    """
    require_artifact(artifact)  # before anything is allocated as large as the card says
    run = replace(run or RunOptions(), spinning=False)  # spinning idle threads would take time from the other workers
    count = len(images) if isinstance(images, Sized) else None
    plan = share_out(artifact, run, resize, count, single_threaded=single_threaded)
    mine = Sessions()
    places = (sessions or mine).places(artifact, run, plan.threads)
    workers = _Workers(Extraction(artifact.card, resize, run), places, finish)
    pending: deque[tuple[Source, Future[dict[str, Result] | FmedgeError]]] = deque()
    with ExitStack() as ending:
        ending.callback(mine.close)
        pool = ThreadPoolExecutor(plan.workers, "fmedge", workers.take_place)
        ending.callback(_wait_for_running, pending)  # in case a second signal interrupted the pool's own wait
        ending.callback(pool.shutdown, cancel_futures=True)
        ending.callback(workers.stopped.set)
        for image in images:
            pending.append((image, pool.submit(workers.work, image)))
            if len(pending) == plan.window:
                yield _next_of(pending)
        while pending:
            yield _next_of(pending)


def _next_of(pending: deque[tuple[Source, Future[Result]]]) -> tuple[Source, Result]:
    """Wait for the first result, remove it from the queue and return it."""
    wait([pending[0][1]])  # it stays in the queue until it is done, so that an interrupted run still waits for it
    image, future = pending.popleft()
    return image, future.result()


def _wait_for_running(pending: Iterable[tuple[Any, Future[Any]]]) -> None:
    """Wait for running tasks; others have been cancelled. A thread cannot be joined twice (Python 3.11, 3.12)."""
    wait([future for _, future in pending if future.running()])
