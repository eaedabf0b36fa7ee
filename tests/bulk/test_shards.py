"""The protocol of shards, as a model: workers take turns, and are killed anywhere; no row is lost, or there twice."""

import random
import threading
from collections import Counter

import numpy as np
import pytest

from fmedge.bulk.checking import describe_dataset, verify_dataset
from fmedge.bulk.dataset import Row, commit, done_shards, read_manifest, require_key
from fmedge.bulk.extraction import Job
from fmedge.bulk.key import Column, Key, hash_of_keys
from fmedge.bulk.reducing import no_reducers
from fmedge.errors import ArtifactError, WriteError

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")
hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis")
stateful = pytest.importorskip("hypothesis.stateful")


def make_key(inputs, shard_size):
    keys = [f"{number:06}.jpg" for number in range(inputs)]
    return Key(
        model_sha256="0" * 64,
        weights="",
        activation="relu",
        preprocessing="",
        size=(8, 8),
        resize="nearest",
        columns=(Column("a.mean", "a", "mean", (2,)),),
        format="parquet",
        dtype="float32",
        l2=False,
        reduction=None,
        reduction_sha256=(),
        backend="onnxruntime",
        device="cpu",
        math="fp32",
        inputs=inputs,
        inputs_sha256=hash_of_keys(keys),
        shard_size=shard_size,
    )


def rows_of(key, shard, broken=frozenset()):
    """What workers compute: the same for the same inputs."""
    first = shard * key.shard_size
    for number in range(first, first + key.count(shard)):
        name = f"{number:06}.jpg"
        if number in broken:
            yield Row(name, "", None, f"'{name}' cannot be read.")
        else:
            yield Row(name, f"{number:064x}", (np.float32([number, number / 3]),))


class Memory:
    """A place for files that many workers share; ``before`` is called before each of them does something."""

    address = "memory"

    def __init__(self, files=None, before=lambda: None):
        self.files, self.before = {} if files is None else files, before

    def create(self):
        self.before()

    def names(self):
        self.before()
        return set(self.files)

    def sizes(self):
        return {name: len(content) for name, content in self.files.items()}

    def read(self, name):
        self.before()
        try:
            return self.files[name]
        except KeyError:
            raise ArtifactError(f"Cannot read '{name}'.") from None

    def write(self, name, content):
        self.before()
        self.files[name] = content

    def remove(self, name):
        self.before()
        self.files.pop(name, None)


def job_of(store, key):
    return Job(None, None, store, key, no_reducers(key))


def finish(files, key, broken=frozenset(), share=(0, 1), before=lambda: None, *, retry_failed=False):
    """What a worker does, from its start to its end."""
    store = Memory(files, before)
    require_key(store, key)
    job = job_of(store, key)
    for shard in job.due(share, retry_failed=retry_failed):
        commit(store, key, shard, list(rows_of(key, shard, broken)))


def require_every_row_once(files, key):
    store = Memory(files)
    rows = [row for shard in done_shards(store, key) for row in read_manifest(store, shard)]
    assert Counter(row["key"] for row in rows) == Counter(f"{number:06}.jpg" for number in range(key.inputs))
    assert verify_dataset(store) == []


class Killed(BaseException):
    """A worker is killed."""


class Worker:
    """Works in a thread of its own, one step at a time: each step ends before it does something with the files."""

    def __init__(self, target):
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._killed, self.done = False, False
        self._thread = threading.Thread(target=self._run, args=(target,))
        self._thread.start()
        self._there.acquire()

    def _run(self, target):
        try:
            target(self._before)
        except Killed:
            pass
        finally:
            self.done = True
            self._there.release()

    def _before(self):
        self._there.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def step(self):
        self._go.release()
        self._there.acquire()

    def kill(self):
        self._killed = True
        self.step()
        self._thread.join()


class Protocol(stateful.RuleBasedStateMachine):
    """Workers with shares of the same data set, started, moved on, killed, and failing to write, in any order."""

    @stateful.initialize(
        inputs=hypothesis.strategies.integers(1, 9),
        size=hypothesis.strategies.integers(1, 4),
        broken=hypothesis.strategies.sets(hypothesis.strategies.integers(0, 8)),
    )
    def begin(self, inputs, size, broken):
        self.key, self.broken, self.files, self.workers = make_key(inputs, size), frozenset(broken), {}, []

    @stateful.rule(count=hypothesis.strategies.integers(1, 3), data=hypothesis.strategies.data())
    def start(self, count, data):
        share = (data.draw(hypothesis.strategies.integers(0, count - 1)), count)
        retry = data.draw(hypothesis.strategies.booleans())
        if len(self.workers) < 4:
            self.workers.append(
                Worker(lambda before: finish(self.files, self.key, self.broken, share, before, retry_failed=retry))
            )

    @stateful.precondition(lambda self: self.workers)
    @stateful.rule(data=hypothesis.strategies.data(), steps=hypothesis.strategies.integers(1, 9))
    def move(self, data, steps):
        worker = data.draw(hypothesis.strategies.sampled_from(self.workers))
        for _ in range(steps):
            if worker.done:
                self.workers.remove(worker)
                break
            worker.step()

    @stateful.precondition(lambda self: self.workers)
    @stateful.rule(data=hypothesis.strategies.data())
    def kill(self, data):
        worker = data.draw(hypothesis.strategies.sampled_from(self.workers))
        self.workers.remove(worker)
        if not worker.done:
            worker.kill()

    @stateful.precondition(lambda self: self.broken and not self.workers)
    @stateful.rule()
    def mend(self):
        """An input that failed can be read now."""
        self.broken = frozenset(list(self.broken)[1:])

    @stateful.invariant()
    def what_is_committed_is_whole(self):
        if "dataset.json" in self.files and not any(not worker.done for worker in self.workers):
            assert verify_dataset(Memory(self.files)) == []

    def teardown(self):
        for worker in self.workers:
            if not worker.done:
                worker.kill()
        finish(self.files, self.key, self.broken, retry_failed=True)
        require_every_row_once(self.files, self.key)
        failed = describe_dataset(Memory(self.files)).failed
        assert failed == len([number for number in self.broken if number < self.key.inputs])
        alone = {}
        finish(alone, self.key, self.broken)
        assert self.files == alone


TestProtocol = Protocol.TestCase
TestProtocol.settings = hypothesis.settings(
    max_examples=25, stateful_step_count=30, deadline=None, derandomize=True, database=None
)


@pytest.mark.parametrize("workers", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_workers_that_fail(workers):
    """Each is killed at a random moment with a chance of one in three, and started again until all has been done."""
    chance, key, files = random.Random(5), make_key(3 * workers, 2), {}
    left, starts = list(range(workers)), 0
    while left:
        number = left.pop(chance.randrange(len(left)))
        countdown = chance.randrange(1, 25) if chance.random() < 1 / 3 else -1

        def before():
            nonlocal countdown
            countdown -= 1
            if countdown == 0:
                raise WriteError("this worker's disk is full") if chance.random() < 0.5 else Killed

        starts += 1
        try:
            finish(files, key, share=(number, workers), before=before)
        except (Killed, WriteError):
            left.append(number)
    assert starts > 1.1 * workers
    require_every_row_once(files, key)
