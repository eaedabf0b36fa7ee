"""ONNX Runtime."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import onnxruntime as ort

from fmedge.artifact import Artifact
from fmedge.errors import ArtifactError, LimitExceeded, ProviderUnavailable, UsageError
from fmedge.runtime.session import FloatArray, Images, Provider, channels_first, require_images, require_names

PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider"),
}
"""Execution provider per device."""

_ERRORS_ONLY = 3
"""ONNX Runtime's log level."""


class OnnxRuntimeSession:
    """A model in ONNX Runtime; see :class:`fmedge.runtime.Session`."""

    backend = "onnxruntime"

    def __init__(self, artifact: Artifact, provider: Provider, threads: int, spinning: bool) -> None:
        self._card = artifact.card
        self._taps = [spec.name for spec in artifact.card.outputs]
        self.threads = threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1  # the network is a chain
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        self._session: Any = _load(artifact, options, provider)
        require_names(
            artifact,
            [node.name for node in self._session.get_inputs()],
            [node.name for node in self._session.get_outputs()],
        )
        self.active_provider: str = self._session.get_providers()[0]
        self.placement: Mapping[str, int] = _placement(self._session)
        if self.active_provider != provider.name:  # a missing provider is only a warning there
            raise ProviderUnavailable(f"{provider.name} was asked for; ONNX Runtime offers {self.active_provider}.")

    def run(self, images: Images) -> dict[str, FloatArray]:
        """See :meth:`fmedge.runtime.Session.run`."""
        if self._session is None:
            raise UsageError("The session is closed. Open another: fmedge.open_session.")
        require_images(images, self._card.inputs[0])
        try:
            outputs = self._session.run(self._taps, {self._card.inputs[0].name: images})
        except MemoryError as error:
            raise LimitExceeded("Not enough memory to run the model. Give fewer images at a time.") from error
        return {spec.name: channels_first(maps, spec) for spec, maps in zip(self._card.outputs, outputs, strict=True)}

    def close(self) -> None:
        """See :meth:`fmedge.runtime.Session.close`."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_backend(artifact: Artifact, device: str, threads: int, spinning: bool) -> OnnxRuntimeSession:
    """Load a model; the arguments are those of :func:`fmedge.runtime.open_session`, already checked."""
    return OnnxRuntimeSession(artifact, PROVIDERS[device], threads, spinning)


def _load(artifact: Artifact, options: ort.SessionOptions, provider: Provider) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(
            artifact.model, sess_options=options, providers=[(provider.name, dict(provider.options))]
        )
    except MemoryError as error:
        raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
    except Exception as error:  # ONNX Runtime's own exceptions share no base but Exception
        raise ArtifactError(f"ONNX Runtime cannot load '{artifact.path}'. Export it again: fmedge export.") from error


def _placement(session: ort.InferenceSession) -> dict[str, int]:
    """Nodes per execution provider, as assigned when the graph was partitioned."""
    counts: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        counts[subgraph.ep_name] += len(subgraph.get_nodes())
    return dict(counts)
