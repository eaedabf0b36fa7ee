"""The session: what all engines have in common, and the interface that each must provide."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from fmedge.errors import ArtifactError, LimitExceeded, ProviderUnavailable, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard, TensorSpec
from fmedge.runtime import forks
from fmedge.runtime.cores import bound_to
from fmedge.runtime.engine_errors import Mend, in_our_words
from fmedge.runtime.gate.bounds import Needs, Shape
from fmedge.runtime.placement import Placement
from fmedge.system.memory import require_memory

_STRIP = 128
"""Pixels transposed at a time, so that what is read and written stays in the cache. It is 2.7 times as fast as NumPy's
own transpose at 64 channels of 224 x 224; 32 and 512 are slower."""

FloatArray = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.uint8 | np.float32]


class Engine(Protocol):
    """A model loaded into an engine: an adapter creates it, and only :class:`Session` calls it.

    Attributes:
        name: The backend's name.
        active_provider: What computes, as the engine reports after loading.
        placement: Where the engine placed the model's nodes.
    """

    name: str
    active_provider: str
    placement: Placement

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Exceptions that the engine raises when a run fails, in addition to ``MemoryError``."""
        ...

    @property
    def owned(self) -> bool:
        """Whether the arrays that ``compute`` returns are new and belong to the caller."""
        ...

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """Run the model once.

        Args:
            images: The images, in the card's element type, layout and size, C-contiguous.
            out: Arrays in the model's layout that the engine should fill if it can.

        Returns:
            For each tap an array in the model's layout: the one from ``out``, or another. If ``owned`` is false,
            another array is valid only until the next call.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory."""
        ...


class Session:
    """A model, loaded and ready to run: a context manager that is closed at the end of its block.

    Attributes:
        card: The model's card.
        backend: Name of the engine.
        active_provider: What computes, as the engine reports after loading.
        placement: Number of the model's nodes per provider and operator, as the engine reports after loading.
        threads: Number of CPU threads that compute.
        math: Arithmetic: ``fp32`` or ``bf16``; for an int8 model that of its float parts, or ``wide int8`` where its
            sums are computed so on x86 without VNNI.
    """

    def __init__(
        self,
        engine: Engine,
        card: ModelCard,
        threads: int,
        math: str,
        cpus: Sequence[int] | None,
        needs: Callable[[Shape], Needs],
    ) -> None:
        """Take over a loaded model; see :func:`fmedge.runtime.open_session`.

        Args:
            engine: The loaded model.
            card: Its card.
            threads: Number of CPU threads that compute.
            math: As in the class's attributes.
            cpus: Cores that the threads are bound to; None for all.
            needs: Gives what a run on images of a shape takes, as the gate works it out.
        """
        self._engine: Engine | None = engine
        self._needs = needs
        self._roomy: Shape | None = None
        self._inherited = False
        self._turn = Lock()
        self._cpus = cpus
        self.card = card
        self.backend = engine.name
        self.active_provider = engine.active_provider
        self.placement = engine.placement
        self.threads = threads
        self.math = math
        forks.watch(self)

    def __repr__(self) -> str:
        layers, closed = self.card.submodel.label, ", closed" if self._engine is None else ""
        where = f"{self.backend} on {self.active_provider}"
        return f"Session({layers!r}, {where}, {self.math}, threads={self.threads}{closed})"

    def leave(self) -> object:
        """See :meth:`fmedge.runtime.forks.Inheritable.leave`."""
        engine, self._engine = self._engine, None
        self._turn, self._inherited = Lock(), True  # a thread that does not exist in the child may hold the old lock
        return engine

    def run(
        self, images: Images, out: Mapping[str, FloatArray] | None = None, steps: dict[str, float] | None = None
    ) -> dict[str, FloatArray]:
        """Compute the taps.

        Args:
            images: (N, H, W, 3), RGB, 0 to 255, in the card's element type and size.
            out: Arrays to fill, one per tap: float32, (N, C, H, W), C-contiguous. None makes new ones.
            steps: Receives the seconds of ``compute``, the engine's own call, and of ``copy out``, from the engine's
                arrays to the caller's where they are not the same.

        Returns:
            For each tap a float32 array, (N, C, H, W), that the caller owns: the one from ``out`` if it was given.

        Raises:
            UsageError: The images or ``out`` have the wrong type or shape, or the images are too small for the layer.
                Or the session is closed, was opened before this process was forked, or is running in another thread:
                open one session per thread.
            LimitExceeded: There is not enough memory.
            ArtifactError: The engine failed, or the model gives nothing or something else than its graph says.
        """
        if not self._turn.acquire(blocking=False):
            raise UsageError(
                "The session is running in another thread.", hint="Open one per thread: fmedge.open_session."
            )
        try:
            if self._inherited:
                raise UsageError(
                    "The session was opened before this process was forked; its threads do not exist here.",
                    hint="Open another: fmedge.open_session, or start processes by spawn.",
                )
            if self._engine is None:
                raise UsageError("The session is closed.", hint="Open another: fmedge.open_session.")
            require_images(images, self.card.inputs[0])
            self._require_extents(images)
            needs = self._needs(images.shape)
            self._require_room(images.shape, needs)
            if out is not None:
                self._require_out(out, images)
            ready = np.ascontiguousarray(images)
            return self._run(self._engine, ready, needs, out or {}, {} if steps is None else steps)
        finally:
            self._turn.release()

    def _require_room(self, shape: Shape, needs: Needs) -> None:
        """Check, once per shape, that a run gives something and that there is enough memory for its values."""
        if shape != self._roomy:
            for name, extents in needs.shapes.items():
                if 0 in extents:
                    words = f"The model's output '{name}' is empty ({' x '.join(map(str, extents))})"
                    raise ArtifactError(f"{words}. Export it for larger images.")
            count, height, width, _ = shape
            require_memory(f"A run on {count:,} x {height:,} x {width:,} pixels", needs.memory)
            self._roomy = shape

    def _run(
        self,
        engine: Engine,
        images: Images,
        needs: Needs,
        out: Mapping[str, FloatArray],
        steps: dict[str, float],
    ) -> dict[str, FloatArray]:
        fits = self.card.options.layout == "NCHW"
        try:
            start = time.perf_counter()
            with bound_to(self._cpus):
                found = engine.compute(images, out if fits else {})
            computed = time.perf_counter()
            _require_shapes(found, needs)
            maps = {
                spec.name: _hand_over(found[spec.name], out.get(spec.name), transpose=not fits, owned=engine.owned)
                for spec in self.card.outputs
            }
            steps.update({"compute": computed - start, "copy out": time.perf_counter() - computed})
            return maps
        except MemoryError as error:
            raise LimitExceeded("Not enough memory to run the model. Give fewer images at a time.") from error
        except engine.errors as error:
            raise failure(error, f"{self.backend} failed to run the model") from error

    def _require_extents(self, images: Images) -> None:
        """Check that the images are not smaller than the stride of all pools together.

        Most engines would give one value even then.

        Raises:
            UsageError: They are smaller.
        """
        if self.card.submodel.stock is None:
            return
        deepest, (height, width) = self.card.submodel.stock_layers[-1], images.shape[1:3]
        if min(height, width) < deepest.stride:
            raise UsageError(
                f"Images of {height} x {width} are too small for {deepest.name}. "
                f"Allowed: {deepest.stride} x {deepest.stride} or larger."
            )

    def _require_out(self, out: Mapping[str, FloatArray], images: Images) -> None:
        if set(out) != {spec.name for spec in self.card.outputs}:
            taps = ", ".join(spec.name for spec in self.card.outputs)
            raise UsageError(f"out= holds {', '.join(out) or 'nothing'}; the model's taps are {taps}.")
        for name, array in out.items():
            wanted = self._output_shape(name, images)
            fits = all(want in (None, got) for want, got in zip(wanted, array.shape, strict=False))
            if array.dtype != np.float32 or array.ndim != 4 or not fits or not array.flags.carray:
                shape = " x ".join("N" if extent is None else str(extent) for extent in wanted)
                raise UsageError(f"out['{name}'] must be a writable, C-contiguous float32 array of {shape}.")

    def _output_shape(self, name: str, images: Images) -> tuple[int | None, ...]:
        """Return the shape (N, C, H, W) of an output for those images; None for extents that only the model knows."""
        spec = next(spec for spec in self.card.outputs if spec.name == name)
        channels, height, width = (spec.shape[spec.layout.index(axis)] for axis in "CHW")
        if self.card.submodel.stock is not None:
            channels, height, width = self.card.submodel.stock.find(name).output_shape(*images.shape[1:3])
        return images.shape[0], channels, height, width

    def close(self) -> None:
        """Free the engine's memory. May be called twice."""
        with self._turn:
            if self._engine is not None:
                self._engine.close()
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_KINDS = {Mend.SMALLER: LimitExceeded, Mend.THREADS: LimitExceeded, Mend.DEVICE: ProviderUnavailable}


def failure(error: Exception, what: str) -> ArtifactError | LimitExceeded | ProviderUnavailable:
    """Turn an engine's error into ours.

    It is LimitExceeded if memory or threads ran out, ProviderUnavailable if a device failed, ArtifactError otherwise.
    """
    words, mend = in_our_words(error)
    kind = _KINDS.get(mend, ArtifactError)
    return kind(f"{what}: {words}.", hint=mend.value)


def _require_shapes(found: Mapping[str, FloatArray], needs: Needs) -> None:
    """Check that outputs have the type and the shapes that the graph says.

    Raises:
        ArtifactError: An output has others.
    """
    for name, maps in found.items():
        if maps.dtype != np.float32 or maps.shape != needs.shapes[name]:
            shape, wanted = (" x ".join(map(str, extents)) for extents in (maps.shape, needs.shapes[name]))
            raise ArtifactError(
                f"The model gives {maps.dtype} {shape} for '{name}'; its graph says float32 {wanted}.",
                hint="Export it again: fmedge export.",
            )


def _hand_over(maps: FloatArray, into: FloatArray | None, *, transpose: bool, owned: bool) -> FloatArray:
    """Return an output as (N, C, H, W) in memory that belongs to the caller."""
    if transpose:
        return channels_first(maps, into)
    if into is None:
        return maps if owned else maps.copy()
    if maps is not into:
        np.copyto(into, maps)
    return into


def channels_first(maps: FloatArray, into: FloatArray | None = None) -> FloatArray:
    """Transpose (N, H, W, C) to (N, C, H, W), into ``into`` if it is given."""
    count, height, width, channels = maps.shape
    pixels = maps.reshape(count, height * width, channels)
    found = np.empty((count, channels, height, width), maps.dtype) if into is None else into
    planes = found.reshape(count, channels, height * width)
    for start in range(0, height * width, _STRIP):
        strip = slice(start, start + _STRIP)
        planes[:, :, strip] = pixels[:, strip].transpose(0, 2, 1)
    return found


def require_names(artifact: Artifact, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Check that a loaded model has the inputs and outputs that its card names.

    Raises:
        ArtifactError: It has others.
    """
    card = artifact.card
    if set(inputs) != {spec.name for spec in card.inputs} or not {spec.name for spec in card.outputs} <= set(outputs):
        raise ArtifactError(
            f"'{artifact.path}' has inputs or outputs other than its card says.", hint="Export it again: fmedge export."
        )


def require_images(images: Images, spec: TensorSpec) -> None:
    """Check that an array has the type and the shape that the model's input takes.

    Raises:
        UsageError: It has others.
    """
    fits = len(images.shape) == len(spec.shape) and all(
        want in (None, got) for want, got in zip(spec.shape, images.shape, strict=True)
    )
    if images.dtype != spec.dtype or not fits or 0 in images.shape:
        got = f"{images.dtype} {' x '.join(map(str, images.shape))}"
        raise UsageError(
            f"The model takes {spec.describe()}; got {got}.", hint="To see what the model takes: fmedge info."
        )
