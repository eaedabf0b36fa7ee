"""ONNX Runtime."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from threading import Lock
from types import FunctionType
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

from fmedge.errors import LimitExceeded, ProviderUnavailable
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Precision
from fmedge.runtime.backends import Provider, int8_overflows
from fmedge.runtime.engine_errors import Mend, explain, in_our_words
from fmedge.runtime.engines.onnx_weights import detach_weights
from fmedge.runtime.placement import Placement
from fmedge.runtime.session import FloatArray, Images, failure, require_names
from fmedge.system.stderr import owns_process, quietly
from fmedge.system.wording import plural

_CPU = "CPUExecutionProvider"

_FATAL = 4
"""ONNX Runtime's log level at which it is silent: failures are raised as exceptions as well."""

_NEEDS_LIBRARIES = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
"""Providers whose libraries are in other wheels, and are found only if they are loaded beforehand."""

_FRUGAL = {"arena_extend_strategy": "kSameAsRequested"}

_DEVICE_OPTIONS: Mapping[tuple[str, Precision], dict[str, str]] = {
    ("CUDAExecutionProvider", Precision.FP32): {**_FRUGAL, "use_tf32": "0"},
    ("CUDAExecutionProvider", Precision.FP16): {**_FRUGAL, "prefer_nhwc": "1"},
    ("CUDAExecutionProvider", Precision.INT8): _FRUGAL,
}
"""Options of providers that differ from their defaults. By default CUDA computes float32 in TF32, which keeps 11 of 24
bits: 61 to 67 dB where 113 to 123 are possible. Its fastest fp16 kernels take channels last: 0.43 instead of 0.65 ms at
block5_conv3. By default its arena takes powers of two: 12.6 GB where 9.8 do, after images of 2000 x 3000 at
block3_conv3, and 6.2 instead of 5.0 after batches of 64, in the same time. Measured with onnxruntime-gpu 1.31.1 on an
H100, November 2026."""

_LARGE_BYTES = 16 << 20
"""Size from which reordering float weights does not pay for a single run: bringing them into the blocks that ONNX
Runtime's fastest convolutions need takes 1.0 ms and a copy per MB, and saves some 20 ms a run."""

_ERRORS: tuple[type[Exception], ...] = tuple(
    error for error in vars(state).values() if isinstance(error, type) and issubclass(error, Exception)
)
"""ONNX Runtime's own exceptions, which share no base but Exception."""


class OnnxRuntimeEngine:
    """A model loaded into ONNX Runtime; see :class:`fmedge.runtime.session.Engine`."""

    name = "onnxruntime"
    owned = True
    errors = (*_ERRORS, RuntimeError)

    def __init__(self, artifact: Artifact, session: ort.InferenceSession, weights: Mapping[str, Any]) -> None:
        self._session: Any = session
        self._model: bytes | None = artifact.model  # kept: the session computes with the weights in it
        self._weights = weights
        self._input = artifact.card.inputs[0].name
        self._taps = [spec.name for spec in artifact.card.outputs]
        self.active_provider: str = self._session.get_providers()[0]
        self.placement: Placement = _placement(session)

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`.

        Raises:
            LimitExceeded: The memory of the device ran out.
        """
        try:
            return self._compute(images, out)
        except self.errors as error:
            if self.active_provider != _CPU and in_our_words(error)[1] is Mend.SMALLER:
                raise _card_is_full(self.active_provider, "run the model") from error
            raise

    def _compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        if not out:
            return dict(
                zip(self._taps, self._session.run(self._taps, {self._input: images, **self._weights}), strict=True)
            )
        binding = self._session.io_binding()
        for name, array in {self._input: images, **self._weights}.items():
            binding.bind_cpu_input(name, array)
        for name, array in out.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
        return out

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._session = self._model = None
        self._weights = {}


def is_present(provider: Provider) -> bool:
    """See :meth:`fmedge.runtime.backends.Adapter.is_present`; says what this wheel was built with."""
    return provider.name in ort.get_available_providers()


def open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> OnnxRuntimeEngine:
    """See :meth:`fmedge.runtime.backends.Adapter.open_engine`."""
    wanted = provider.name
    present = is_present(provider)
    if not present and not options.allow_fallback:
        raise ProviderUnavailable(
            f"This onnxruntime has no {wanted}.", hint=f"Install one that has it: {provider.install}."
        )
    if wanted == "TensorrtExecutionProvider":
        _require_float32()
    if present and wanted in _NEEDS_LIBRARIES:
        _preload()
    chain: list[Any] = [(wanted, _DEVICE_OPTIONS.get((wanted, artifact.card.precision), {}))] if present else []
    if options.allow_fallback and wanted != _CPU:
        chain.append(_CPU)
    large = artifact.card.precision is Precision.FP32 and artifact.size >= _LARGE_BYTES
    quick = options.once and wanted == _CPU and large
    wide = int8_overflows(artifact.card, provider) is not False
    settings = _session_options(threads, options, wanted, quick=quick, wide=wide)
    with quietly():  # what a provider lacks is printed, but also shows as an exception or in the placement
        session, weights = _load(artifact, settings, chain, wanted, quick=quick)
    inputs = [node.name for node in session.get_inputs() if node.name not in weights]
    require_names(artifact, inputs, [node.name for node in session.get_outputs()])
    engine = OnnxRuntimeEngine(artifact, session, weights)
    if not options.allow_fallback:
        _require_all_on(wanted, engine)
    return engine


_TF32 = "NVIDIA_TF32_OVERRIDE"
"""Environment variable that NVIDIA's libraries read when they are loaded; TensorRT's provider has no option for it."""


def _require_float32() -> None:
    """Make TensorRT compute float32 in float32, not in TF32.

    Raises:
        ProviderUnavailable: Only the program that calls us can set this; the message says how.
    """
    if owns_process():
        os.environ.setdefault(_TF32, "0")
    elif _TF32 not in os.environ:
        raise ProviderUnavailable(f"TensorRT would round float32 to 11 bits. Set {_TF32}=0 before the program starts.")


_preloading = Lock()


@cache
def _preload() -> str:
    """Load CUDA's libraries from their wheels, once per process; return what ONNX Runtime prints as missing."""
    said: list[str] = []

    def hear(*words: object) -> None:
        said.append(" ".join(map(str, words)))

    heard = {**ort.preload_dlls.__globals__, "print": hear}  # captures only that function's prints: stdout is shared
    with _preloading, quietly():
        loads = ort.preload_dlls
        FunctionType(loads.__code__, heard, argdefs=loads.__defaults__, closure=loads.__closure__)()
    return "\n".join(said)


def _session_options(threads: int, options: RunOptions, wanted: str, *, quick: bool, wide: bool) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1  # the network is a chain
    settings.log_severity_level = _FATAL
    if quick:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        settings.enable_cpu_mem_arena = False  # it keeps memory for a second run
    entries = {
        "session.intra_op.allow_spinning": "1" if options.spinning else "0",
        "session.record_ep_graph_assignment_info": "1",
        "session.x64quantprecision": "1" if wide else "0",  # takes 3.3 times as long where there is VNNI
        # Otherwise a provider that lacks an operator, or does not start, is replaced by the CPU with a warning.
        "session.disable_cpu_ep_fallback": "0" if options.allow_fallback or wanted == _CPU else "1",
    }
    for key, value in entries.items():
        settings.add_session_config_entry(key, value)
    return settings


def _load(
    artifact: Artifact, settings: ort.SessionOptions, chain: list[Any], wanted: str, *, quick: bool
) -> tuple[ort.InferenceSession, Mapping[str, Any]]:
    """Load the session; return it with the weights to feed to every run: none, except if a large model runs once."""
    model, fed = artifact.model, {}
    try:
        if quick:
            model, fed = detach_weights(model, as_inputs=True)
        elif wanted == _CPU:  # a device gets the whole model; it copies what it needs anyway
            model, weights = detach_weights(model)
            values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}  # no copies
            settings.add_external_initializers(list(values), list(values.values()))
        # By default it switches to the CPU if a device fails, even during a run, and reports it only on stdout.
        return ort.InferenceSession(model, sess_options=settings, providers=chain, enable_fallback=0), fed
    except MemoryError as error:
        raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
    except (*_ERRORS, RuntimeError, ValueError) as error:
        if wanted != _CPU and _CPU in chain:
            return _load(artifact, settings, [_CPU], _CPU, quick=False)
        if wanted != _CPU:
            missing = _preload() if wanted in _NEEDS_LIBRARIES else ""
            words, mend = explain(f"{error}\n{missing}") or in_our_words(error)
            if mend is Mend.SMALLER:
                raise _card_is_full(wanted, f"load '{artifact.path}'") from error
            raise ProviderUnavailable(
                f"{wanted} cannot run the whole model here: {words}.",
                hint="See fmedge doctor, or allow the CPU: --allow-fallback.",
            ) from error
        raise failure(error, f"ONNX Runtime cannot load '{artifact.path}'") from error


def _card_is_full(provider: str, what: str) -> LimitExceeded:
    see = " (nvidia-smi tells)" if provider in _NEEDS_LIBRARIES else ""
    return LimitExceeded(
        f"Not enough memory on {provider} to {what}.",
        hint=f"Give fewer or smaller images, or end what else holds it{see}.",
    )


def _require_all_on(wanted: str, engine: OnnxRuntimeEngine) -> None:
    if engine.active_provider != wanted:  # ONNX Runtime only warns about a missing provider
        raise ProviderUnavailable(
            f"{wanted} does not start here; ONNX Runtime would use {engine.active_provider}.", hint="See fmedge doctor."
        )
    elsewhere = {name: sum(nodes.values()) for name, nodes in engine.placement.items() if name != wanted}
    if elsewhere:
        words = ", ".join(f"{plural(count, 'node')} on {name}" for name, count in elsewhere.items())
        raise ProviderUnavailable(f"{wanted} would leave {words}.", hint="To allow it: --allow-fallback.")


def _placement(session: Any) -> Placement:  # noqa: ANN401 - the stub lacks the method
    """Count nodes per execution provider and operator, as assigned when the graph was partitioned."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for subgraph in session.get_provider_graph_assignment_info():
        counts[subgraph.ep_name].update(node.op_type for node in subgraph.get_nodes())
    return {name: dict(nodes) for name, nodes in counts.items()}
