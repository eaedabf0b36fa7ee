"""Limit what Keras may build from a model's configuration, which sets the size of layers before any weight is read.

As soon as Keras reads a layer's configuration it creates the layer's weights, filled with random numbers; afterwards it
reads all of them from the file. So a file whose layers need more weights than it holds is not a valid model, whatever
the kind of layer.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from math import prod
from pathlib import Path
from typing import Any

from fmedge.errors import FmedgeError, LimitExceeded, WeightsError
from fmedge.export.tensorflow.keras_import import keras

MAX_CALLS = 3_000
"""Calls of layers; those in nested models count at every call of the model. NASNetLarge, Keras' largest, has 1,041."""

MAX_REBUILDS = 24_000
"""Calls that Keras makes while it adds layers to a sequential model: for each new layer it calls all previous ones
again. 218 layers need this many; each call takes a quarter of a millisecond."""

SECONDS = 60.0
"""Time for building a model: NASNetLarge takes 8 s on a 2-core x86-64; boards take several times as long."""

_FREE_BYTES = 16 << 20
_VARIABLE_BYTES = 4
"""Bytes of one value, and (above) bytes that may be built in addition to what the file holds, such as states."""

_turn = threading.Lock()
"""Lets only one file at a time be loaded under bounds: Keras has a single class of variables."""


def too_many_calls(path: Path) -> LimitExceeded:
    """Return the error for a model that calls too many layers."""
    return LimitExceeded(f"'{path}' calls more layers than the {MAX_CALLS:,} allowed, or 218 in a sequential model.")


class BuildingBounds:
    """Limits on what Keras builds from one file.

    Args:
        path: The file.
        weights_bytes: Size of the arrays in it, in bytes.
    """

    def __init__(self, path: Path, weights_bytes: int) -> None:
        self._path = path
        self._left = _FREE_BYTES + 2 * weights_bytes  # twice, since the file may hold them in float16
        self._calls = self._rebuilds = self._within = 0
        self._broken: FmedgeError | None = None

    def require_kept(self) -> None:
        """Raise the error that a limit raised inside Keras, which may have turned it into another one.

        Raises:
            WeightsError: The layers are larger than the weights.
            LimitExceeded: There are too many layers, or they are too slow to build.
        """
        if self._broken is not None:
            raise self._broken

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Count the variables, before they are made, and the calls that Keras makes in this thread during the block."""
        mine, ends = threading.get_ident(), time.monotonic() + SECONDS
        make, call, build = keras.Variable.__init__, keras.Operation.__call__, keras.Sequential.build
        infer = keras.Function.compute_output_spec

        def made(variable: Any, initializer: Any, shape: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            if threading.get_ident() == mine and shape is not None:
                self._count_variable(shape)
            make(variable, initializer, shape, *args, **kwargs)

        def called(operation: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - what the layer returns
            if threading.get_ident() == mine:
                self._count_call(ends)
            return call(operation, *args, **kwargs)

        def inferred(function: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - shapes: a model in another one
            if threading.get_ident() == mine:
                self._count_call(ends)
            return infer(function, *args, **kwargs)

        def rebuilt(model: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self._within += 1
            try:
                return build(model, *args, **kwargs)
            finally:
                self._within -= 1

        with _turn:
            keras.Variable.__init__, keras.Operation.__call__, keras.Sequential.build = made, called, rebuilt
            keras.Function.compute_output_spec = inferred
            try:
                yield
            finally:
                keras.Variable.__init__, keras.Operation.__call__, keras.Sequential.build = make, call, build
                keras.Function.compute_output_spec = infer

    def _count_variable(self, shape: Any) -> None:  # noqa: ANN401
        size = prod(extent for extent in shape if isinstance(extent, int)) * _VARIABLE_BYTES
        self._left -= size
        if self._left < 0:
            self._break(
                WeightsError(
                    f"'{self._path}' describes layers that are larger than its weights. Save it with model.save."
                )
            )

    def _count_call(self, ends: float) -> None:
        if self._within:
            self._rebuilds += 1
        else:
            self._calls += 1
        if self._calls > MAX_CALLS or self._rebuilds > MAX_REBUILDS:
            self._break(too_many_calls(self._path))
        if time.monotonic() > ends:
            self._break(LimitExceeded(f"'{self._path}' could not be built within {SECONDS:g} s."))

    def _break(self, error: FmedgeError) -> None:
        self._broken = self._broken or error
        raise error
