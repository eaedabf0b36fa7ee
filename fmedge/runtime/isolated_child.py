"""The child process that runs a model made elsewhere; :mod:`fmedge.runtime.isolated` starts it and sends requests.

It loads one engine and one model, and computes until there are no more requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from fmedge.errors import ArtifactError, FmedgeError, LimitExceeded
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.model.run_options import RunOptions
from fmedge.system import address_space
from fmedge.system.stderr import own_process

if TYPE_CHECKING:
    from fmedge.runtime.session import Engine, FloatArray, Images


@contextlib.contextmanager
def _at_most(seconds: float) -> Generator[None]:
    """End this process after ``seconds``, in case the parent, which would do it, is gone."""
    timer = getattr(signal, "setitimer", None)
    if timer is not None:
        timer(signal.ITIMER_REAL, seconds + 1)
    yield
    if timer is not None:
        timer(signal.ITIMER_REAL, 0)


class _Line:
    """The connection to the parent process."""

    def __init__(self, source: BinaryIO, answers: BinaryIO) -> None:
        self._source, self._answers = source, answers

    def order(self) -> dict[str, Any] | None:
        """Read the next request; None when there are no more."""
        line = self._source.readline()
        return json.loads(line) if line else None

    def read(self, size: int) -> bytes:
        """Read the bytes that follow a request."""
        return self._source.read(size)

    def answer(self, **facts: object) -> None:
        """Answer a request."""
        self._answers.write(json.dumps(facts).encode() + b"\n")
        self._answers.flush()

    def refuse(self, error: FmedgeError) -> None:
        """Answer an order with an error."""
        self.answer(error=type(error).__name__, message=str(error), hint=error.hint, flags=error.flags)

    def send(self, values: npt.NDArray[np.float32]) -> None:
        """Send the values that follow an answer."""
        self._answers.write(np.ascontiguousarray(values).data.cast("B"))
        self._answers.flush()


def _serve(line: _Line) -> None:
    """Load the engine and the model that the first two requests name, then run the model for each further request."""
    from fmedge.runtime.cores import bind_process
    from fmedge.runtime.opening import load_adapter, open_engine

    head = line.order()
    if head is None:  # the parent was interrupted
        return
    options = RunOptions()
    with _reported(line, head):
        options = RunOptions(**head["options"])
        address_space.restrict(head["bytes"])
        address_space.begin()
        if options.cpus is not None:
            bind_process(options.cpus)
        load_adapter(options)
        line.answer()
    with _reported(line, head), _at_most(float((line.order() or {})["seconds"])):
        model, weights = (line.read(size) for size in head["sizes"])
        artifact = Artifact(Path(head["path"]), ModelCard.from_json(head["card"]), model, weights)
        engine = open_engine(artifact, options)
        line.answer(active_provider=engine.active_provider, placement=engine.placement)
        taps = [spec.name for spec in artifact.card.outputs]
    while order := line.order():
        with _reported(line, head), _at_most(order["seconds"]):
            address_space.restrict(order["bytes"])
            images = np.frombuffer(line.read(order["size"]), order["dtype"]).reshape(order["shape"])
            maps = _computed(engine, cast("Images", images))
            line.answer(maps={tap: [str(maps[tap].dtype), *maps[tap].shape] for tap in taps})
            for tap in taps:
                line.send(maps[tap])
            del maps  # LiteRT's are views of its own memory, which nobody else may hold during a run


def _computed(engine: Engine, images: Images) -> Mapping[str, FloatArray]:
    from fmedge.runtime.session import failure

    try:
        return engine.compute(images, {})
    except engine.errors as error:
        raise failure(error, f"{engine.name} failed to run the model") from error


@contextlib.contextmanager
def _reported(line: _Line, head: Mapping[str, Any]) -> Generator[None]:
    """Report an error and end the process: the bytes that follow the request can no longer be read in step."""
    try:
        yield
    except FmedgeError as error:
        line.refuse(error)
    except Exception as error:  # engines' own share no base but Exception; only their text tells that memory ran out
        if address_space.is_out_of_files(error):
            line.refuse(address_space.shortage(error))
        elif address_space.is_shortage(error) or "alloc" in str(error).lower():
            line.refuse(_too_large(head))
        else:
            line.refuse(_refused(head, error))
    else:
        return
    os._exit(0)


def _too_large(head: Mapping[str, Any]) -> LimitExceeded:
    limit = address_space.address_limit()
    allowed = "is available" if limit is None else f"{limit / 1e9:.1f} GB"
    return LimitExceeded(
        f"'{head['path']}' needs more memory than {allowed}.", hint="Export it for fewer or smaller images."
    )


def _refused(head: Mapping[str, Any], error: Exception) -> ArtifactError:
    engine = head["options"]["backend"]
    return ArtifactError(
        f"{engine} cannot run '{head['path']}' ({type(error).__name__}).", hint="Export it again: fmedge export."
    )


def main() -> None:
    """Serve the process that started this one, on stdin and stdout."""
    line = _Line(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # engines print to stdout
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        _serve(line)
    os._exit(0)  # an engine that crashes on the way out must not spoil a finished run


if __name__ == "__main__":
    with own_process():
        main()
