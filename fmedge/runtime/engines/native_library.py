"""The library of fmedge's own kernels, from the package fmedge-native, as ``fmedge_chain.h`` declares it."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingImports=false, reportUnknownArgumentType=false

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from enum import IntEnum
from typing import Any, ClassVar

import fmedge_native

ABI = 1
"""The version of the interface that this module is written for."""

MAX_THREADS = 64
MAX_CPUS = 4096
"""Most threads of a chain, and most cores that they are bound to."""


class Status(IntEnum):
    """What a function returns."""

    OK = 0
    BAD_ARGUMENT = 1
    BAD_MODEL = 2
    BAD_PACKED = 3
    NO_MEMORY = 4
    NO_THREADS = 5
    NO_KERNELS = 6
    TOO_LARGE = 7
    TOO_SMALL = 8


class ChainError(RuntimeError):
    """A function failed.

    Attributes:
        status: What it returned.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"fmedge_chain returned {status}: {text}")
        self.status = status


class Options(ctypes.Structure):
    """How a chain computes."""

    _fields_: ClassVar = [
        ("struct_size", c_uint32),
        ("threads", c_uint32),
        ("kernels", c_uint32),
        ("spin_us", c_uint32),
        ("cpus", POINTER(c_uint32)),
        ("cpu_count", c_uint32),
        ("reserved", c_uint32),
        ("packed", c_void_p),
        ("packed_bytes", c_size_t),
    ]


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "abi": (c_uint32, ()),
    "status_text": (c_char_p, (c_int,)),
    "kernels_name": (c_char_p, (c_uint32,)),
    "best": (c_uint32, ()),
    "packed_bytes": (c_int, (c_void_p, c_size_t, c_uint32, POINTER(c_size_t))),
    "pack": (c_int, (c_void_p, c_size_t, c_uint32, c_uint32, c_void_p, c_size_t)),
    "open": (c_int, (c_void_p, c_size_t, POINTER(Options), POINTER(c_void_p))),
    "tap_count": (c_uint32, (c_void_p,)),
    "tap_shape": (c_int, (c_void_p, c_uint32, c_uint32, c_uint32, POINTER(c_uint32))),
    "run_bytes": (c_int, (c_void_p, c_uint32, c_uint32, c_uint32, POINTER(c_size_t))),
    "run": (
        c_int,
        (c_void_p, c_void_p, c_uint32, c_uint32, c_uint32, POINTER(c_void_p), POINTER(c_size_t), c_uint32),
    ),
    "close": (None, (c_void_p,)),
}
"""Result and arguments of each function that is called here."""


def _load() -> dict[str, Any]:
    """Load the library and return its functions.

    Raises:
        ImportError: It has another interface.
        OSError: It does not load.
    """
    library = ctypes.CDLL(str(fmedge_native.library_path()))
    found: dict[str, Any] = {}
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, f"fmedge_chain_{name}")
        except AttributeError as error:
            raise ImportError(f"fmedge-native {fmedge_native.__version__} has no fmedge_chain_{name}") from error
        function.restype, function.argtypes = result, arguments
        found[name] = function
        if name == "abi" and function() != ABI:
            raise ImportError(f"fmedge-native {fmedge_native.__version__} has interface {function()}, not {ABI}")
    return found


_functions = _load()


def call(name: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the function returns
    """Call a function by its name without ``fmedge_chain_``, and return its result.

    Other threads of Python go on meanwhile.
    """
    return _functions[name](*arguments)


def require(name: str, *arguments: object) -> None:
    """Call a function that returns a status.

    Raises:
        MemoryError: Memory ran out.
        ChainError: It failed for another reason.
    """
    status = int(_functions[name](*arguments))
    if status == Status.NO_MEMORY:
        raise MemoryError
    if status != Status.OK:
        raise ChainError(status, (_functions["status_text"](status) or b"").decode(errors="replace"))


def best_kernels() -> str:
    """Return the name of the fastest kernels that this processor can run, such as ``avx2``."""
    return call("kernels_name", call("best")).decode()
