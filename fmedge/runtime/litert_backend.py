"""LiteRT (TensorFlow Lite): its ``Interpreter``, with XNNPACK on the CPU."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportPrivateUsage=false

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from ai_edge_litert.interpreter import Interpreter

from fmedge.artifact import Artifact
from fmedge.errors import ArtifactError, LimitExceeded, UsageError
from fmedge.quiet import quietly
from fmedge.runtime.session import FloatArray, Images, Provider, channels_first, require_images, require_names

PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("XNNPACK"),
}
"""Accelerator per device."""


class LiteRtSession:
    """A model in LiteRT; see :class:`fmedge.runtime.Session`."""

    backend = "litert"

    def __init__(self, artifact: Artifact, provider: Provider, threads: int) -> None:
        self._card = artifact.card
        self.threads = threads
        self.active_provider = provider.name
        self._interpreter: Any
        self._interpreter, self._run = _load(artifact, threads)
        self.placement: Mapping[str, int] = _placement(self._interpreter, provider.name)

    def run(self, images: Images) -> dict[str, FloatArray]:
        """See :meth:`fmedge.runtime.Session.run`."""
        if self._run is None:
            raise UsageError("The session is closed. Open another: fmedge.open_session.")
        require_images(images, self._card.inputs[0])
        try:
            outputs = self._run(**{self._card.inputs[0].name: images})
        except (MemoryError, RuntimeError) as error:
            raise LimitExceeded("Not enough memory to run the model. Give fewer images at a time.") from error
        return {spec.name: channels_first(outputs[spec.name], spec) for spec in self._card.outputs}

    def close(self) -> None:
        """See :meth:`fmedge.runtime.Session.close`."""
        self._run = self._interpreter = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_backend(artifact: Artifact, device: str, threads: int, spinning: bool) -> LiteRtSession:
    """Load a model; the arguments are those of :func:`fmedge.runtime.open_session`, already checked."""
    del spinning  # XNNPACK's threads decide for themselves
    return LiteRtSession(artifact, PROVIDERS[device], threads)


def _load(artifact: Artifact, threads: int) -> tuple[Interpreter, Any]:
    """An interpreter, and what runs its signature."""
    with quietly():  # LiteRT announces its delegate on stderr
        try:  # from memory: a file that changes under an open interpreter would end the process
            interpreter = Interpreter(model_content=artifact.model, num_threads=threads)
            interpreter.allocate_tensors()
            (signature,) = interpreter.get_signature_list().values()
            require_names(artifact, signature["inputs"], signature["outputs"])
            return interpreter, interpreter.get_signature_runner()
        except MemoryError as error:
            raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"LiteRT cannot load '{artifact.path}'. Export it again: fmedge export.") from error


def _placement(interpreter: Any, provider: str) -> dict[str, int]:  # noqa: ANN401 - half of it is private
    """Operators that run, per what runs them; a delegate counts as one.

    The list holds the operators that a delegate took, too: those that run are found from the outputs backwards.
    """
    makers: dict[int, Any] = {}
    for operator in interpreter._get_ops_details():  # noqa: SLF001 - the only way to ask
        makers.update(dict.fromkeys(map(int, operator["outputs"]), operator))  # delegates come last and win
    wanted = [int(detail["index"]) for detail in interpreter.get_output_details()]
    running: dict[int, str] = {}
    while wanted:
        operator = makers.get(wanted.pop())
        if operator is not None and operator["index"] not in running:
            running[operator["index"]] = provider if operator["op_name"] == "DELEGATE" else "builtin"
            wanted.extend(map(int, operator["inputs"]))
    return dict(Counter(running.values()))
