"""Where a user's data and caches lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

_LINUX = {"data": ("XDG_DATA_HOME", ".local/share"), "cache": ("XDG_CACHE_HOME", ".cache")}
"""The variable and the default folder under the home folder, by the XDG Base Directory Specification."""


def user_folder(kind: Literal["data", "cache"]) -> Path:
    """Return fmedge's folder of a kind, which may be missing; the same as platformdirs, which takes 8 ms to load.

    Raises:
        RuntimeError: The user has no home folder.
    """
    if sys.platform.startswith("linux"):
        variable, below_home = _LINUX[kind]
        chosen = os.environ.get(variable, "").strip()
        return Path(chosen if Path(chosen).is_absolute() else Path.home() / below_home) / "fmedge"
    import platformdirs

    find = platformdirs.user_data_dir if kind == "data" else platformdirs.user_cache_dir
    return Path(find("fmedge", appauthor=False))
