"""fmedge's own kernels: where the shared library and its sources lie. Nothing is loaded here."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"
__all__ = ["__version__", "library_path", "sources_path"]


def library_path() -> Path:
    """Return the path of the shared library, whose interface is ``fmedge_chain.h``."""
    return Path(__file__).parent / "libfmedge_chain.so"


def sources_path() -> Path:
    """Return the folder with the library's sources: ``CMakeLists.txt``, ``include``, ``src`` and ``example``.

    They are what the library was built from, and all that is needed to build it on another machine, without Python.
    """
    return Path(__file__).parent / "sources"
