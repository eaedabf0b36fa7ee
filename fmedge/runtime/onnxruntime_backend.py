"""ONNX Runtime."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

from fmedge.artifact import Artifact
from fmedge.errors import LimitExceeded, ProviderUnavailable
from fmedge.quiet import quietly
from fmedge.run_options import RunOptions
from fmedge.runtime.backends import Provider
from fmedge.runtime.engine_texts import in_our_words
from fmedge.runtime.session import FloatArray, Images, Placement, failure, require_names

_CPU = "CPUExecutionProvider"

_FATAL = 4
"""ONNX Runtime's log level at which it is silent: what it has to say comes as an exception too."""

_NEEDS_LIBRARIES = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
"""Providers whose libraries lie in other wheels and are found only when loaded beforehand."""

_ERRORS: tuple[type[Exception], ...] = tuple(
    error for error in vars(state).values() if isinstance(error, type) and issubclass(error, Exception)
)
"""ONNX Runtime's own exceptions, which share no base but Exception."""


class OnnxRuntimeEngine:
    """A model in ONNX Runtime; see :class:`fmedge.runtime.session.Engine`."""

    name = "onnxruntime"
    owned = True
    errors = (*_ERRORS, RuntimeError)

    def __init__(self, artifact: Artifact, session: ort.InferenceSession) -> None:
        self._session: Any = session
        self._input = artifact.card.inputs[0].name
        self._taps = [spec.name for spec in artifact.card.outputs]
        self.active_provider: str = self._session.get_providers()[0]
        self.placement: Placement = _placement(session)

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`."""
        if not out:
            return dict(zip(self._taps, self._session.run(self._taps, {self._input: images}), strict=True))
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, images)
        for name, array in out.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
        return out

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._session = None


def is_present(provider: Provider) -> bool:
    """See :meth:`fmedge.runtime.backends.Adapter.is_present`: what this wheel was built with."""
    return provider.name in ort.get_available_providers()


def open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> OnnxRuntimeEngine:
    """See :meth:`fmedge.runtime.backends.Adapter.open_engine`."""
    wanted = provider.name
    present = is_present(provider)
    if not present and not options.allow_fallback:
        raise ProviderUnavailable(f"This onnxruntime has no {wanted}. Install one that has: {provider.install}.")
    if present and wanted in _NEEDS_LIBRARIES and hasattr(ort, "preload_dlls"):
        with quietly():
            ort.preload_dlls()
    chain: list[Any] = [(wanted, dict(provider.options))] if present else []
    if options.allow_fallback and wanted != _CPU:
        chain.append(_CPU)
    with quietly():  # what a provider lacks is printed there, and comes as an exception, or in the placement, too
        session = _load(artifact, _session_options(threads, options, wanted), chain, wanted)
    require_names(artifact, [node.name for node in session.get_inputs()], [node.name for node in session.get_outputs()])
    engine = OnnxRuntimeEngine(artifact, session)
    if not options.allow_fallback:
        _require_all_on(wanted, engine)
    return engine


def _session_options(threads: int, options: RunOptions, wanted: str) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1  # the network is a chain
    settings.log_severity_level = _FATAL
    entries = {
        "session.intra_op.allow_spinning": "1" if options.spinning else "0",
        "session.record_ep_graph_assignment_info": "1",
        # Otherwise a provider that lacks an operator, or does not start, is replaced by the CPU with a warning.
        "session.disable_cpu_ep_fallback": "0" if options.allow_fallback or wanted == _CPU else "1",
    }
    for key, value in entries.items():
        settings.add_session_config_entry(key, value)
    return settings


def _load(artifact: Artifact, settings: ort.SessionOptions, chain: list[Any], wanted: str) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(artifact.model, sess_options=settings, providers=chain)
    except MemoryError as error:
        raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
    except (*_ERRORS, RuntimeError, ValueError) as error:
        if wanted != _CPU:
            words, _ = in_our_words(error)
            raise ProviderUnavailable(
                f"{wanted} cannot run the whole model: {words}. See fmedge doctor, or give --allow-fallback."
            ) from error
        raise failure(error, f"ONNX Runtime cannot load '{artifact.path}'") from error


def _require_all_on(wanted: str, engine: OnnxRuntimeEngine) -> None:
    if engine.active_provider != wanted:  # a missing provider is only a warning there
        raise ProviderUnavailable(
            f"{wanted} does not start here; ONNX Runtime offers {engine.active_provider}. See fmedge doctor."
        )
    elsewhere = {name: sum(nodes.values()) for name, nodes in engine.placement.items() if name != wanted}
    if elsewhere:
        words = ", ".join(f"{count} node{'s'[: count - 1]} on {name}" for name, count in elsewhere.items())
        raise ProviderUnavailable(f"{wanted} would leave {words}. To allow it: --allow-fallback.")


def _placement(session: Any) -> Placement:  # noqa: ANN401 - the stub lacks the method
    """Nodes per execution provider and operator, as assigned when the graph was partitioned."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for subgraph in session.get_provider_graph_assignment_info():
        counts[subgraph.ep_name].update(node.op_type for node in subgraph.get_nodes())
    return {name: dict(nodes) for name, nodes in counts.items()}
