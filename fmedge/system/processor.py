"""Ask the processor itself what it can do.

``/proc/cpuinfo`` is the kernel's description, which under emulation is that of the host; it is used only where nothing
else answers.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from fmedge.errors import BackendUnavailable

_CPUINFO = Path("/proc/cpuinfo")

_FLAG_LISTS = ("flags", "Features")
"""Names of the list of processor features in /proc/cpuinfo: on x86 and on Arm."""

_X86 = ("x86_64", "amd64", "i386", "i686")
_ARM = ("aarch64", "arm64")

_REGISTERS = ("eax", "ebx", "ecx", "edx")

_CPUID: Mapping[str, tuple[int, str, int]] = {
    "ssse3": (0, "ecx", 9),
    "cx16": (0, "ecx", 13),
    "sse4_1": (0, "ecx", 19),
    "sse4_2": (0, "ecx", 20),
    "popcnt": (0, "ecx", 23),
    "avx": (0, "ecx", 28),
    "f16c": (0, "ecx", 29),
    "fma": (0, "ecx", 12),
    "avx2": (1, "ebx", 5),
    "bmi2": (1, "ebx", 8),
    "avx512f": (1, "ebx", 16),
    "avx512dq": (1, "ebx", 17),
    "avx512bw": (1, "ebx", 30),
    "avx512vl": (1, "ebx", 31),
    "avx512_vnni": (1, "ecx", 11),
    "amx_bf16": (1, "edx", 22),
    "amx_int8": (1, "edx", 25),
    "avx_vnni": (6, "eax", 4),
    "avx512_bf16": (6, "eax", 5),
}
"""Where glibc keeps the answers of CPUID, by Linux' names of the features: glibc's index of the leaf (0 is leaf 1, 1 is
leaf 7, 6 is leaf 7 subleaf 1; sys/platform/x86.h), the register and the bit (Intel's Software Developer's Manual,
volume 2, CPUID)."""

_HWCAP: Mapping[str, tuple[int, int]] = {
    "fp": (16, 0),
    "asimd": (16, 1),
    "atomics": (16, 8),
    "fphp": (16, 9),
    "asimdhp": (16, 10),
    "asimddp": (16, 20),
    "sve": (16, 22),
    "sve2": (26, 1),
    "i8mm": (26, 13),
    "bf16": (26, 14),
}
"""Bits of AT_HWCAP (16) and AT_HWCAP2 (26) in the auxiliary vector on 64-bit Arm (asm/hwcap.h in Linux)."""

X86_64_V2 = ("cx16", "popcnt", "ssse3", "sse4_1", "sse4_2")
"""What the second level of x86-64 adds (System V ABI, x86-64 supplement, 3.1.1); NumPy's wheels are built for it."""

NEEDS: Mapping[str, tuple[str, ...]] = {
    "NumPy": X86_64_V2,
    "TensorFlow": ("avx",),
    "LiteRT's GPU": ("avx", "atomics"),
}
"""Features that libraries require, on x86 and on Arm: without them, importing or opening the library ends the process
with a signal, or with the library's own error. Checked with numpy 2.4.6, tensorflow 2.21 and ai-edge-litert 2.3.0 on
qemu-user's Penryn, Nehalem, Westmere, SandyBridge, Cortex-A53 and A72. onnxruntime 1.32, openvino 2026.4, ncnn
1.0.20261020 and LiteRT on the CPU need no more than NumPy."""

_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")

CORETYPES: Mapping[str, tuple[str, ...]] = {
    "sandybridge": ("avx",),
    "haswell": _AVX2,
    "zen": _AVX2,
    "skylakex": _AVX512,
    "cooperlake": (*_AVX512, "avx512_bf16"),
    "sapphirerapids": (*_AVX512, "avx512_bf16"),
}
"""Features that OpenBLAS, which NumPy loads, uses without a check where OPENBLAS_CORETYPE names one of its kernel sets:
on a processor without them, importing NumPy ends the process with SIGILL."""


def processor_features() -> frozenset[str]:
    """Return the processor's features by the kernel's names, such as ``avx2`` or ``atomics``.

    Empty where neither the processor nor the system reports them (x86 on systems other than Linux).
    """
    if sys.platform == "linux":
        asked = _ask_cpuid() if platform.machine().lower() in _X86 else _ask_hwcap()
        if asked:
            return asked
    return frozenset(word for name in _FLAG_LISTS for word in cpuinfo(name).split())


def require_processor(library: str) -> None:
    """Check, before a library is imported, that the processor has the features it needs.

    Args:
        library: A key of :data:`NEEDS`.

    Raises:
        BackendUnavailable: It lacks instructions; the message names them.
    """
    if lacking := missing_features(library):
        raise BackendUnavailable(
            f"{library} needs {', '.join(lacking).upper()}, which this processor does not have.",
            hint="To see what runs here: fmedge doctor.",
        )


def require_coretype() -> None:
    """Check, before NumPy is imported, that the kernels requested by OPENBLAS_CORETYPE can run here.

    Raises:
        BackendUnavailable: The processor lacks instructions; the message names them.
    """
    asked = os.environ.get("OPENBLAS_CORETYPE", "")
    if lacking := _lacking(CORETYPES.get(asked.lower(), ())):
        raise BackendUnavailable(
            f"OPENBLAS_CORETYPE={asked} makes NumPy use {', '.join(lacking).upper()}, which this processor does not "
            "have. Unset it."
        )


def missing_features(library: str) -> tuple[str, ...]:
    """Return the features that a library needs and the processor lacks; empty where the system reports none."""
    return _lacking(NEEDS.get(library, ()))


def _lacking(needed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the needed features that this processor lacks, of those known for its architecture.

    Empty where the system reports no features.
    """
    architecture = platform.machine().lower()
    known = (*(_CPUID if architecture in _X86 else ()), *(_HWCAP if architecture in _ARM else ()))
    needed = tuple(name for name in needed if name in known)
    features = processor_features() if needed else frozenset[str]()
    return tuple(name for name in needed if name not in features) if features else ()


def sums_saturate(architecture: str, features: frozenset[str]) -> bool | None:
    """Return whether a processor's fastest byte multiplication adds pairs of products in 16 bits, which may overflow.

    This is x86 without VNNI: its VPMADDUBSW saturates (Intel's Software Developer's Manual, volume 2). Arm's
    instructions do not.

    Args:
        architecture: As :func:`platform.machine` returns it.
        features: From :func:`processor_features`.

    Returns:
        None where the system does not report features: x86 on systems other than Linux.
    """
    if architecture.lower() not in _X86:
        return False
    return not features & _VNNI if features else None


_VNNI = frozenset(("avx512_vnni", "avx_vnni", "amx_int8"))


def cpuinfo(wanted: str) -> str:
    """Return a value from /proc/cpuinfo, of the first core that lists it; empty where there is none."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == wanted:
                return value.strip()
    return ""


def _ask_cpuid() -> frozenset[str]:
    """Return the features that glibc 2.33 or later read from the processor when the process started."""
    import ctypes  # 10 ms, and only int8 models need it

    try:
        ask = getattr(ctypes.CDLL(None), "__x86_get_cpuid_feature_leaf")
    except (OSError, AttributeError):  # another C library, or an older one
        return frozenset()
    words = ctypes.c_uint32 * 8  # what CPUID reports, then the part of it that the system lets programs use
    ask.restype, ask.argtypes = ctypes.POINTER(words), (ctypes.c_uint,)
    active = {number: list(ask(number).contents)[4:] for number, _, _ in _CPUID.values()}
    return frozenset(
        name
        for name, (number, register, bit) in _CPUID.items()
        if active[number][_REGISTERS.index(register)] >> bit & 1
    )


def _ask_hwcap() -> frozenset[str]:
    import ctypes

    if platform.machine().lower() not in _ARM:
        return frozenset()
    try:
        ask = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):
        return frozenset()
    ask.restype, ask.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return frozenset(name for name, (entry, bit) in _HWCAP.items() if ask(entry) >> bit & 1)
