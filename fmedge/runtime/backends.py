"""The table of engines and their devices."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol

from fmedge.errors import UsageError, closest
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.model.run_options import Math, RunOptions
from fmedge.model.submodel import Format, Precision
from fmedge.runtime.session import Engine
from fmedge.system.cgroup import group_limits
from fmedge.system.install import in_place
from fmedge.system.processor import processor_features, sums_saturate


@dataclass(frozen=True, slots=True)
class Provider:
    """An engine's name for a device.

    Attributes:
        device: Ours: what ``--device`` takes.
        name: As the engine spells it, such as ``CPUExecutionProvider``.
        advice: How to install what it needs, with names of extras in braces.
    """

    device: str
    name: str
    advice: str

    @property
    def install(self) -> str:
        """The command that installs what it needs here."""
        return in_place(self.advice)


@dataclass(frozen=True, slots=True)
class Backend:
    """A row of the table.

    Attributes:
        name: What ``--backend`` takes.
        formats: Model files it runs.
        module: Our adapter, imported when used: an :class:`Adapter`.
        package: The engine's import package.
        providers: Its devices: the CPU first, then the best first.
        maths: Arithmetic it can be asked for on the CPU.
        without_vnni: How it adds the products of int8 models with weights of 8 bits on x86 without VNNI: ``exact``, or
            ``wide`` when it is asked to and with sums that overflow when it is not.
    """

    name: str
    formats: tuple[Format, ...]
    module: str
    package: str
    providers: tuple[Provider, ...]
    maths: tuple[Math, ...] = ("fp32",)
    without_vnni: Literal["exact", "wide"] = "exact"

    @property
    def install(self) -> str:
        """The command that installs the engine."""
        return self.providers[0].install

    @property
    def installed(self) -> bool:
        """Whether the engine's package is there; whether it loads is another matter."""
        return find_spec(self.package) is not None


class Adapter(Protocol):
    """What our module for an engine has."""

    def is_present(self, provider: Provider) -> bool:
        """Whether a device is likely to be there, as far as the engine can tell without a model."""
        ...

    def open_engine(self, artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> Engine:
        """Load a model.

        Args:
            artifact: The model.
            provider: Where it shall compute.
            threads: CPU threads that compute.
            options: The other choices of the run.

        Raises:
            ProviderUnavailable: The device is not there, or does not take the model as a whole.
            ArtifactError: The engine refuses the model.
            LimitExceeded: Memory ran out.
        """
        ...


def _extra(name: str) -> str:
    return f"{{{name}}}"


_CPU, _GPU = _extra("cpu"), f"pip uninstall onnxruntime, then {_extra('gpu')}"

BACKENDS: tuple[Backend, ...] = (
    Backend(
        "onnxruntime",
        (Format.ONNX,),
        "fmedge.runtime.engines.onnxruntime_engine",
        "onnxruntime",
        (
            Provider("cpu", "CPUExecutionProvider", _CPU),
            Provider("cuda", "CUDAExecutionProvider", _GPU),
            Provider("tensorrt", "TensorrtExecutionProvider", _GPU),
            Provider("dml", "DmlExecutionProvider", "pip uninstall onnxruntime, then pip install onnxruntime-directml"),
            Provider("coreml", "CoreMLExecutionProvider", f"{_CPU} (macOS)"),
            Provider(
                "openvino",
                "OpenVINOExecutionProvider",
                "pip uninstall onnxruntime, then pip install onnxruntime-openvino",
            ),
        ),
        without_vnni="wide",
    ),
    Backend(
        "openvino",
        (Format.ONNX,),
        "fmedge.runtime.engines.openvino_engine",
        "openvino",
        (Provider("cpu", "CPU", _extra("openvino")), Provider("gpu", "GPU", _extra("openvino"))),
        ("fp32", "bf16"),
        without_vnni="wide",
    ),
    Backend(
        "ncnn",
        (Format.NCNN,),
        "fmedge.runtime.engines.ncnn_engine",
        "ncnn",
        (Provider("cpu", "CPU", _extra("ncnn")), Provider("vulkan", "Vulkan", _extra("ncnn"))),
        ("fp32", "bf16"),
    ),
    Backend(
        "litert",
        (Format.TFLITE,),
        "fmedge.runtime.engines.litert_engine",
        "ai_edge_litert",
        (Provider("cpu", "XNNPACK", _extra("litert")), Provider("gpu", "GPU", _extra("litert"))),
    ),
)
"""The engines, the preferred one first; LiteRT is last because its files are written by TensorFlow, which few have."""

WIDE = "wide int8"
"""Arithmetic that int8 models with weights of 8 bits get on x86 without VNNI: slower sums that do not overflow, in
32 bits in ONNX Runtime and in float32 in OpenVINO."""

NOT_GPUS = ("cpu", "openvino")
"""Devices that ``gpu`` does not stand for: ONNX Runtime's OpenVINO provider computes on the CPU unless told so."""

MAX_THREADS = 64
"""Threads allowed where there are fewer cores: more would only cost memory."""


def find_backend(name: str) -> Backend:
    """The row of the engine with that name.

    Raises:
        UsageError: There is no such engine.
    """
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    names = [backend.name for backend in BACKENDS]
    raise UsageError(f"Unknown backend '{name}'.{closest(name, names)} Allowed: {', '.join(names)}.")


def usable_cpus() -> int:
    """CPU cores that this process may use: those it may run on, or fewer where a control group's quota is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = group_limits().cpus
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def default_threads(cpus: Collection[int] | None = None) -> int:
    """CPU threads that compute where nobody says how many: one per core, or fewer where OMP_NUM_THREADS says so.

    Args:
        cpus: Numbers of the cores that they are bound to; None for all.
    """
    cores = usable_cpus() if cpus is None else min(len(set(cpus)), usable_cpus())
    wished = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list is one number per level
    return min(cores, int(wished)) if re.fullmatch(r"0*[1-9][0-9]{0,5}", wished) else max(1, cores)


def int8_overflows(card: ModelCard, provider: Provider) -> bool | None:
    """Whether an int8 model's sums do not fit where this processor is fastest; None where nobody knows."""
    if card.precision is not Precision.INT8 or card.options.seven_bit or provider.device != "cpu":
        return False
    return sums_saturate(platform.machine(), processor_features())


def seven_bits_are_faster() -> bool:
    """Whether int8 models with weights of 7 bits are worth having here.

    They need no wide sums on x86 without VNNI. At block2_conv2 and block3_conv3 they take 0.55 and 0.53 of float32's
    time in ONNX Runtime and 0.54 and 0.51 in OpenVINO, weights of 8 bits 0.88 and 0.80 in ONNX Runtime (2 cores of a
    Zen 4 whose AVX-512 was masked off, November 2026). LiteRT's sums are exact there and as slow as float32.
    """
    return sums_saturate(platform.machine(), processor_features()) is True


def providers_for(row: Backend, device: str) -> list[Provider]:
    """The providers of an engine that a device's name stands for; empty where it knows no such device."""
    if device == "gpu":
        return [provider for provider in row.providers if provider.device not in NOT_GPUS]
    if row.name == "onnxruntime" and device.endswith("ExecutionProvider"):
        known = [provider for provider in row.providers if provider.name == device]
        return known or [Provider(device, device, "an onnxruntime that was built with it")]
    return [provider for provider in row.providers if provider.device == device]
