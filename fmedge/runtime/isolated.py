"""Run a model that was not made here in a separate process, every time: whatever it does can end only that process.

The gate refuses what is known to be dangerous, and works out what a run takes. The engine gets the rest in a child
process. The child receives the model's bytes, not its path, no secrets of the environment, and as much memory and time
as that run takes on a slow machine. What it returns is checked here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from math import prod
from threading import Timer
from typing import Any, BinaryIO, cast

import numpy as np

from fmedge import errors
from fmedge.errors import ArtifactError, FmedgeError, LimitExceeded
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.runtime.gate.bounds import Needs, Shape
from fmedge.runtime.placement import Placement
from fmedge.runtime.session import FloatArray, Images
from fmedge.system import address_space, children

CHILD = "fmedge.runtime.isolated_child"
"""The module that runs in the child."""

_SLACK_BYTES = 1 << 30
"""Address space beyond the engine's floor and the values of a run: allocators reserve more than they hold."""

_ARRAYS = 3
"""Copies of a run's values that are allowed for: an engine holds some in a second order, and hands over others."""

_IMPORT_S = 60.0
"""Time to load Python and an engine, whatever the model: 0.3 s on a 2-core x86-64, 50 s under emulation."""

_LOAD_S, _BYTES_PER_S = 8.0, 10_000_000
"""Time to load a model, plus some for its size. OpenVINO, the slowest engine, needs 0.6 s for the 59 MB of VGG16 at
full depth."""

_DEVICE_TIMES = 30
"""How many times longer a device may take to load a model: TensorRT tries out kernels for minutes."""

_RUN_S, _PRODUCTS_PER_S = 4.0, 500_000_000
"""Time for a run, plus some for what it computes: the rate is a quarter of what one core of a Raspberry Pi 3 does."""

MAX_PRODUCTS_PER_PIXEL = 4 * 15_500_000_000 // (224 * 224)
"""Multiplications and the like that are allowed per pixel of the image: four times those of VGG16 at full depth. For
comparison, EfficientNet-B7 needs 100,000 and U-Net 700,000."""

_LONGEST_LINE = 1 << 20
"""Most bytes in a line that the child writes: it reports where the engine placed the operators."""

_LONGEST_MESSAGE = 1000

_INHERITED = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL"),
    *("MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "VK_ICD_FILENAMES", "OCL_ICD_VENDORS"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_CACHE_PATH"),
)
"""Environment variables that the child gets: those that programs and drivers need to start at all, and to take the same
graphics card as this process."""


class IsolatedEngine:
    """A model loaded into an engine in another process; see :class:`fmedge.runtime.session.Engine`."""

    owned = True
    errors: tuple[type[Exception], ...] = ()

    def __init__(self, artifact: Artifact, options: RunOptions, needs: Callable[[Shape], Needs]) -> None:
        """Start the child and load the model there.

        Args:
            artifact: The model, already passed by the gate.
            options: How to run it; they name the engine, the device and the number of threads.
            needs: Gives what a run on images of a shape takes.

        Raises:
            ArtifactError: The engine refuses it.
            LimitExceeded: It crashed the child, or takes too much memory or time.
            ProviderUnavailable: The device is missing, or cannot run the whole model.
        """
        self._model, self._card = artifact.path.name, artifact.card
        self._needs = needs
        self._room = partial(address_bytes, options, artifact.size)
        self.name = str(options.backend)
        self._process = _start(self._model)
        head = {
            "bytes": self._room(needs(artifact.card.image_shape())),
            "sizes": [len(artifact.model), len(artifact.weights)],
            "path": self._model,
            "card": artifact.card.to_json(),
            "options": asdict(options),
        }
        try:
            self._ask(_IMPORT_S, json.dumps(head).encode() + b"\n", what="start")
            seconds = (_LOAD_S + artifact.size / _BYTES_PER_S) * (1 if options.device == "cpu" else _DEVICE_TIMES)
            order = json.dumps({"seconds": seconds}).encode() + b"\n"
            facts = self._ask(seconds, order, artifact.model, artifact.weights, what="load")
            self.active_provider, self.placement = self._about(facts)
        except BaseException:
            self.close()
            raise

    def _about(self, facts: dict[str, Any]) -> tuple[str, Placement]:
        """Return what computes, and where the engine placed the model's nodes, from the child's report."""
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            placement = {str(name): _counts(nodes) for name, nodes in facts["placement"].items()}
            return str(facts["active_provider"]), placement
        raise ArtifactError(f"The process that loads '{self._model}' did not report what computes it.")

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`."""
        needs = self._needs(images.shape)
        require_products(needs, images.shape)
        if self._process.returncode is not None:  # it was reported then; a child that ended since is found below
            raise LimitExceeded(f"The process that ran '{self._model}' has ended. Open another session.")
        seconds = _RUN_S + needs.products / _PRODUCTS_PER_S
        facts = {
            "seconds": seconds,
            "bytes": self._room(needs),
            "size": images.nbytes,
            "dtype": str(images.dtype),
            "shape": images.shape,
        }
        try:
            answer = self._ask(seconds, json.dumps(facts).encode() + b"\n", images, what="run")
            self._require_maps(answer.get("maps"), needs)
            return {spec.name: self._receive(spec.name, needs.shapes[spec.name], out) for spec in self._card.outputs}
        except BaseException:
            self._end()  # what the child still writes would be taken for the next answer
            raise

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._end()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _end(self) -> int:
        """End the child if it is still running; return its exit status."""
        self._process.kill()
        return self._process.wait()

    def _ask(self, seconds: float, *words: bytes | Images, what: str) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            FmedgeError: The child reports an error, or has ended.
        """
        source, answers = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)
        with self._within(seconds, what):
            with suppress(OSError):  # the child has ended: the reason is reported below
                for word in words:
                    source.write(word if isinstance(word, bytes) else word.data.cast("B"))
                source.flush()
            line = answers.readline(_LONGEST_LINE)
        return self._judged(line)

    def _require_maps(self, found: object, needs: Needs) -> None:
        """Check that the outputs have the type and the shapes that the gate worked out."""
        wanted = {spec.name: ["float32", *needs.shapes[spec.name]] for spec in self._card.outputs}
        if found != wanted:
            raise ArtifactError(
                f"'{self._model}' computes shapes other than its graph says.", hint="Export it again: fmedge export."
            )

    def _receive(self, name: str, shape: Shape, out: Mapping[str, FloatArray]) -> FloatArray:
        """Receive an output of the shape that the gate worked out."""
        maps = out.get(name)
        if maps is None or maps.shape != shape:
            maps = np.empty(shape, np.float32)
        stream = cast("BinaryIO", self._process.stdout)
        with self._within(_RUN_S + maps.nbytes / _BYTES_PER_S, "return its feature maps"):
            view, done = maps.data.cast("B"), 0
            while done < len(view):
                count = cast("Any", stream).readinto(view[done:])
                if not count:
                    break
                done += count
        if done < maps.nbytes:
            raise self._ended()
        with np.errstate(all="ignore"):
            finite = np.isfinite(maps.sum()) or np.isfinite(maps).all()  # the sum of large values may be infinite
        if not finite:
            raise ArtifactError(
                f"'{self._model}' computes NaN or infinity for '{name}'.", hint="Export it again: fmedge export."
            )
        return maps

    @contextmanager
    def _within(self, seconds: float, what: str) -> Generator[None]:
        """End the child if the block takes longer than ``seconds``.

        Raises:
            LimitExceeded: It took longer, or no thread can be started.
        """
        late = Timer(seconds, self._process.kill)
        late.daemon = True
        try:
            late.start()
        except RuntimeError as error:
            raise address_space.no_threads() from error
        try:
            yield
        finally:
            timely = late.is_alive()
            late.cancel()
        if not timely:
            raise LimitExceeded(f"'{self._model}' did not {what} within {seconds:.0f} s, the most that is allowed.")

    def _judged(self, line: bytes) -> dict[str, Any]:
        answer: object = None
        with suppress(ValueError, RecursionError):
            answer = json.loads(line)
        if not isinstance(answer, dict):
            raise self._ended()
        found = cast("dict[str, Any]", answer)
        if "error" in found:
            kind = getattr(errors, str(found["error"]), ArtifactError)
            known = isinstance(kind, type) and issubclass(kind, FmedgeError)
            message, hint = (str(found.get(name, ""))[:_LONGEST_MESSAGE] for name in ("message", "hint"))
            flags = found.get("flags")
            named = tuple(map(str, cast("list[object]", flags))) if isinstance(flags, list) else ()
            raise (kind if known else ArtifactError)(message, hint=hint, flags=named)
        return found

    def _ended(self) -> FmedgeError:
        """Return the error for a child that has ended, or answers with something unexpected."""
        code = self._end()
        if code < 0 and code != -signal.SIGKILL:
            return LimitExceeded(
                f"'{self._model}' crashed the engine (signal {-code}); it ran in a process of its own.",
                hint="Export it again: fmedge export.",
            )
        return LimitExceeded(
            f"'{self._model}' ended the process that ran it, probably for lack of memory. "
            "Export it for fewer or smaller images."
        )


def _counts(nodes: dict[object, object]) -> dict[str, int]:
    return {str(operator): int(str(count)) for operator, count in nodes.items()}


def require_products(needs: Needs, images: Shape) -> None:
    """Check that a run computes no more than networks in use do.

    Raises:
        LimitExceeded: It computes more.
    """
    most = MAX_PRODUCTS_PER_PIXEL * prod(images[:3])
    if needs.products > most:
        raise LimitExceeded(
            f"A run takes {needs.products / 1e9:,.0f} billion operations. "
            f"Allowed for these images: {most / 1e9:,.0f} billion."
        )


def address_bytes(options: RunOptions, model_bytes: int, needs: Needs) -> int | None:
    """Return the address space in bytes for an engine, a model and a run; None on devices: drivers reserve a lot."""
    if options.device != "cpu":
        return None
    floor = address_space.FLOORS[str(options.backend)].total(options.threads or 1, 2 * model_bytes)
    return floor + _ARRAYS * needs.memory + _SLACK_BYTES


def _start(name: str) -> subprocess.Popen[bytes]:
    try:
        return children.start(
            children.module_command(CHILD),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.path.abspath(os.sep),  # noqa: PTH100 - a drive's root on Windows
            env=_environment(),
        )
    except LimitExceeded as error:
        raise LimitExceeded(f"'{name}' cannot be run. {error}", hint=error.hint) from error


def _environment() -> dict[str, str]:
    """Return the child's environment: it finds the same modules as this process, and knows little else."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        "PYTHONPATH": children.module_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's OpenBLAS takes 40 MB of address space per core, for nothing here
    }
