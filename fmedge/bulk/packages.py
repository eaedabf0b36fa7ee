"""Packages that are extras of their own."""

from __future__ import annotations

import importlib
from typing import Any

from fmedge.errors import BackendUnavailable


def package(name: str) -> Any:  # noqa: ANN401
    """Return a module of a package that has the name of its extra.

    Raises:
        BackendUnavailable: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = name.partition(".")[0]
        raise BackendUnavailable(f"{extra} is missing.", hint=f"Install it: pip install 'fmedge[{extra}]'.") from error
