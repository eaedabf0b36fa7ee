"""Where a user's data, caches and settings lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

_LINUX = {
    "data": ("XDG_DATA_HOME", ".local/share"),
    "cache": ("XDG_CACHE_HOME", ".cache"),
    "config": ("XDG_CONFIG_HOME", ".config"),
}
"""The variable and the default folder under the home folder, by the XDG Base Directory Specification."""


def user_folder(kind: Literal["data", "cache", "config"]) -> Path:
    """Return fmedge's folder of a kind, which may be missing; the same as platformdirs, which takes 8 ms to load.

    Raises:
        RuntimeError: The user has no home folder.
    """
    if sys.platform.startswith("linux"):
        variable, below_home = _LINUX[kind]
        chosen = os.environ.get(variable, "").strip()
        return Path(chosen if Path(chosen).is_absolute() else Path.home() / below_home) / "fmedge"
    import platformdirs

    find = {
        "data": platformdirs.user_data_dir,
        "cache": platformdirs.user_cache_dir,
        "config": platformdirs.user_config_dir,
    }
    return Path(find[kind]("fmedge", appauthor=False))
