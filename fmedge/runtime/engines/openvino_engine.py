"""OpenVINO."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingImports=false
# ruff: noqa: E402 - its telemetry has to be turned off before OpenVINO is imported

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType] - importing it fails
import openvino as ov  # with telemetry it would report every import to its makers, and store an id for the machine

from fmedge.errors import LimitExceeded, ProviderUnavailable
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.runtime.backends import Provider, int8_overflows
from fmedge.runtime.engine_errors import in_our_words
from fmedge.runtime.placement import Placement
from fmedge.runtime.session import FloatArray, Images, failure, require_names
from fmedge.system.stderr import quietly

_PRECISIONS = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16}
"""OpenVINO's types, by fmedge's names. By default OpenVINO takes bf16 where the processor has it, with an error of
0.7 % at full depth."""

_IN_FLOAT = {"LP_TRANSFORMS_MODE": "NO"}
"""Property that makes OpenVINO compute on the codes of an int8 model in float32: on x86 without VNNI its integer
kernels add in 16 bits. By default block3_conv3 reached 28.7 and 18.8 dB there on two photos; with this property 39.0
and 38.0 dB, as with VNNI (OpenVINO 2026.4.1 on qemu-user's Haswell)."""

_NOT_WORK = ("Const", "Input", "Output")
"""Entries of a compiled graph that compute nothing."""


class OpenVinoEngine:
    """A model loaded into OpenVINO; see :class:`fmedge.runtime.session.Engine`."""

    name = "openvino"
    owned = False
    errors = (RuntimeError,)

    def __init__(self, artifact: Artifact, compiled: Any) -> None:  # noqa: ANN401 - OpenVINO has no types
        self._taps = [spec.name for spec in artifact.card.outputs]
        self._compiled: Any = compiled
        self._request: Any = compiled.create_infer_request()
        self._filled: Mapping[str, FloatArray] = {}
        self.active_provider: str = ",".join(compiled.get_property("EXECUTION_DEVICES"))
        self.placement: Placement = {self.active_provider: _operators(compiled)}

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`."""
        if self._filled and not out:  # otherwise it would go on writing to the arrays of the previous run
            self._request = self._compiled.create_infer_request()
        for name, array in out.items():
            self._request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self._filled = out  # kept: OpenVINO holds no reference of its own
        self._request.set_input_tensor(ov.Tensor(images))  # a copy: sharing needs writable memory
        self._request.infer()
        return out or {name: self._request.get_tensor(name).data for name in self._taps}

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._request = self._compiled = None
        self._filled = {}


def is_present(provider: Provider) -> bool:
    """See :meth:`fmedge.runtime.backends.Adapter.is_present`."""
    return bool(_devices(ov.Core(), provider))


def _devices(core: Any, provider: Provider) -> list[str]:  # noqa: ANN401
    """Return OpenVINO's names for a kind of device: ``GPU``, or ``GPU.0``, ``GPU.1`` where there are several."""
    return [name for name in core.available_devices if name.partition(".")[0] == provider.name]


def open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> OpenVinoEngine:
    """See :meth:`fmedge.runtime.backends.Adapter.open_engine`."""
    core = ov.Core()
    found = _devices(core, provider)
    if not found and not options.allow_fallback:
        there = ", ".join(core.available_devices)
        raise ProviderUnavailable(f"OpenVINO finds no {provider.name} here, only {there}. Its driver may be missing.")
    device = found[0] if found else "CPU"
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[options.math],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if device == "CPU":
        properties |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        if int8_overflows(artifact.card, provider) is not False:
            properties |= _IN_FLOAT
    try:
        with quietly():
            model = core.read_model(artifact.model, b"")
            require_names(
                artifact,
                [port.get_any_name() for port in model.inputs],
                [name for port in model.outputs for name in port.get_names()],
            )
            compiled = core.compile_model(model, device, properties)
    except MemoryError as error:
        raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
    except RuntimeError as error:
        if device != "CPU":
            words, _ = in_our_words(error)
            raise ProviderUnavailable(
                f"OpenVINO's {device} cannot run the model: {words}.",
                hint="See fmedge doctor, or allow the CPU: --allow-fallback.",
            ) from error
        raise failure(error, f"OpenVINO cannot load '{artifact.path}'") from error
    _require_precision(compiled, options)
    return OpenVinoEngine(artifact, compiled)


def _require_precision(compiled: Any, options: RunOptions) -> None:  # noqa: ANN401
    precision = compiled.get_property("INFERENCE_PRECISION_HINT")
    if precision != _PRECISIONS[options.math]:
        raise ProviderUnavailable(
            f"OpenVINO computes in {precision.get_type_name()} here, not in {options.math}.", hint="Leave out --math."
        )


def _operators(compiled: Any) -> dict[str, int]:  # noqa: ANN401
    """Count each kind of node in the compiled graph, by OpenVINO's names."""
    kinds = Counter(node.get_rt_info()["layerType"].astype(str) for node in compiled.get_runtime_model().get_ops())
    return {kind: count for kind, count in kinds.items() if kind not in _NOT_WORK}
