"""The table of engines and their devices."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, NamedTuple, Protocol

from fmedge.errors import UsageError, closest
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.model.run_options import Math, RunOptions
from fmedge.model.stock import STOCK, VGG16
from fmedge.model.submodel import Converter, Format, Layout, Precision
from fmedge.runtime.session import Engine
from fmedge.system.cgroup import cpu_quota
from fmedge.system.install import in_place
from fmedge.system.processor import processor_features, sums_saturate


class Provider(NamedTuple):
    """An engine's name for a device.

    Attributes:
        device: fmedge's name for it, as ``--device`` takes it.
        name: The engine's name for it, such as ``CPUExecutionProvider``.
        advice: How to install what it needs, with the names of extras in braces.
    """

    device: str
    name: str
    advice: str

    @property
    def install(self) -> str:
        """The command that installs what the provider needs on this system."""
        return in_place(self.advice)


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend: one row of the table.

    Attributes:
        name: Its name, as ``--backend`` takes it.
        formats: The model formats that it runs.
        module: The module of its adapter, an :class:`Adapter`; imported on first use.
        package: The engine's import package.
        providers: Its devices: the CPU first, then the others from best to worst.
        maths: The arithmetic that can be requested on the CPU.
        without_vnni: How it sums the products of int8 models with 8-bit weights on x86 without VNNI: ``exact`` always
            sums exactly; ``wide`` uses wider sums on request, and otherwise the sums overflow.
        special: Whether it runs only some networks: it is taken without being named where :meth:`Wish.suits` says so,
            and not advised where no engine is installed.
    """

    name: str
    formats: tuple[Format, ...]
    module: str
    package: str
    providers: tuple[Provider, ...]
    maths: tuple[Math, ...] = ("fp32",)
    without_vnni: Literal["exact", "wide"] = "exact"
    special: bool = False

    @property
    def install(self) -> str:
        """The command that installs the engine."""
        return self.providers[0].install

    @property
    def installed(self) -> bool:
        """Whether the engine's package is installed; this does not check that it loads."""
        return find_spec(self.package) is not None


class Wish(NamedTuple):
    """What a model has to be, as far as the engine and the format that are taken unless they are named depend on it.

    Attributes:
        source: The stock network; any other word for a network of the user's own.
        precisions: Its precisions, if several models are made at once.
        converter: What writes it; None takes the default.
        layout: The layout of its outputs; None takes the format's own.
    """

    source: str = VGG16
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    converter: Converter | None = None
    layout: Layout | None = None

    @classmethod
    def of(cls, network: object, *own: object, precisions: tuple[Precision, ...] = (Precision.FP32,)) -> Wish:
        """Return the wish for a network as a user names it.

        Args:
            network: Name of a stock network, or of another one of Keras'; None stands for VGG16.
            own: What may be given instead: a Keras model, an ONNX network.
            precisions: The precisions.
        """
        given = any(each is not None for each in own)
        return cls("" if given else str(network or VGG16).lower(), precisions)

    def suits(self, row: Backend) -> bool:
        """Return whether a backend can be taken for it without being named."""
        return not row.special or (
            self.source in STOCK
            and {*self.precisions} == {Precision.FP32}
            and self.converter in (None, Converter.DIRECT)
            and self.layout in (None, "NCHW")
        )


class Adapter(Protocol):
    """The functions that the adapter module of an engine provides."""

    def is_present(self, provider: Provider) -> bool:
        """Return whether a device is likely to be present, as far as the engine can tell without a model."""
        ...

    def open_engine(self, artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> Engine:
        """Load a model.

        Args:
            artifact: The model.
            provider: The device to run it on.
            threads: Number of CPU threads that compute.
            options: The other run options.

        Raises:
            ProviderUnavailable: The device is missing, or cannot run the whole model.
            ArtifactError: The engine refuses the model.
            LimitExceeded: Memory ran out.
        """
        ...


def _extra(name: str) -> str:
    return f"{{{name}}}"


_CPU, _GPU = _extra("cpu"), f"pip uninstall onnxruntime, then {_extra('gpu')}"

BACKENDS: tuple[Backend, ...] = (
    Backend(
        "native",
        (Format.NATIVE,),
        "fmedge.runtime.engines.native_engine",
        "fmedge_native",
        (Provider("cpu", "CPU", _extra("native")),),
        special=True,
    ),
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
"""The engines, in order of preference. fmedge's own kernels are first because they are the fastest. LiteRT is last
because writing its files takes TensorFlow, which few users have."""

WIDE = "wide int8"
"""Arithmetic of int8 models with 8-bit weights on x86 without VNNI: slower sums that do not overflow, in 32 bits in
ONNX Runtime and in float32 in OpenVINO."""

NOT_GPUS = ("cpu", "openvino")
"""Devices that ``gpu`` does not include: ONNX Runtime's OpenVINO provider computes on the CPU unless told otherwise."""

MAX_THREADS = 64
"""Number of threads that is allowed even on a machine with fewer cores; more would only cost memory."""


def find_backend(name: str) -> Backend:
    """Return the backend with that name.

    Raises:
        UsageError: There is no such backend.
    """
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    names = [backend.name for backend in BACKENDS]
    raise UsageError(f"Unknown backend '{name}'.{closest(name, names)} Allowed: {', '.join(names)}.")


def usable_cpus() -> int:
    """Return how many CPU cores this process may use: its affinity, or a control group's quota where that is lower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def default_threads(cpus: Collection[int] | None = None) -> int:
    """Return the default number of CPU threads: one per core, or fewer where OMP_NUM_THREADS says so.

    Args:
        cpus: Numbers of the cores that the threads are bound to; None for all.
    """
    cores = usable_cpus() if cpus is None else min(len(set(cpus)), usable_cpus())
    wished = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list is one number per level
    return min(cores, int(wished)) if re.fullmatch(r"0*[1-9][0-9]{0,5}", wished) else max(1, cores)


def int8_overflows(card: ModelCard, provider: Provider) -> bool | None:
    """Return whether an int8 model's sums overflow in this processor's fastest instructions; None where unknown."""
    if card.precision is not Precision.INT8 or card.options.seven_bit or provider.device != "cpu":
        return False
    return sums_saturate(platform.machine(), processor_features())


def seven_bits_are_faster() -> bool:
    """Return whether int8 models with 7-bit weights run faster than those with 8-bit weights on this processor.

    On x86 without VNNI they need no wide sums. At block2_conv2 and block3_conv3 they take 0.55 and 0.53 of float32's
    time in ONNX Runtime, and 0.54 and 0.51 in OpenVINO; 8-bit weights take 0.88 and 0.80 in ONNX Runtime (2 cores of a
    Zen 4 with AVX-512 masked off, November 2026). LiteRT's sums are exact there, and as slow as float32.
    """
    return sums_saturate(platform.machine(), processor_features()) is True


def providers_for(row: Backend, device: str) -> list[Provider]:
    """Return the providers of a backend that a device name stands for; empty where the backend has no such device."""
    if device == "gpu":
        return [provider for provider in row.providers if provider.device not in NOT_GPUS]
    if row.name == "onnxruntime" and device.endswith("ExecutionProvider"):
        known = [provider for provider in row.providers if provider.name == device]
        return known or [Provider(device, device, "an onnxruntime built with it")]
    return [provider for provider in row.providers if provider.device == device]
