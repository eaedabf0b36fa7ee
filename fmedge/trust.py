"""Which model files are known: those that this user's fmedge made itself, and those that were tried.

What is known are hashes. A name and a folder say nothing, and a card least of all: who sends a model sends its card.
Each is an empty file named by the hash, so that nothing has to be parsed, locked or repaired.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_made_here: set[str] = set()
"""Hashes of the models that this process made. Most of them, those that calibration goes through, are never written."""


def state_folder() -> Path:
    """Where it is remembered: ``FMEDGE_STATE``, else the user's data folder."""
    chosen = os.environ.get("FMEDGE_STATE")
    if chosen:
        return Path(chosen)
    if sys.platform.startswith("linux"):  # what platformdirs says there, without the 8 ms that it takes to load
        data = os.environ.get("XDG_DATA_HOME", "").strip()
        return Path(data if Path(data).is_absolute() else Path.home() / ".local" / "share") / "fmedge"
    import platformdirs

    return Path(platformdirs.user_data_dir("fmedge", appauthor=False))


def remember_made(sha256: str, *, lasting: bool = True) -> None:
    """Remember a model that was just built.

    Args:
        sha256: Hash of the model file.
        lasting: For later processes too; where nothing can be written, for this one alone.
    """
    _made_here.add(sha256)
    if lasting:
        _mark("made", sha256)


def remember_tried(sha256: str, engine: str) -> None:
    """Remember a model that an engine, named with its version, loaded and ran in a process of its own."""
    _mark("tried", f"{sha256}.{engine}")


def is_known(sha256: str, engine: str) -> bool:
    """Whether a model may be given to an engine, named with its version, without another trial."""
    return sha256 in _made_here or _has_mark("made", sha256) or _has_mark("tried", f"{sha256}.{engine}")


def _has_mark(kind: str, name: str) -> bool:
    try:
        return (state_folder() / kind / name).is_file()
    except (OSError, RuntimeError):  # a folder closed to us; no home
        return False


def _mark(kind: str, name: str) -> None:
    """Create an empty file; where that cannot be, nothing is remembered and the next run tries again."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = state_folder() / kind
        for part in (*reversed(folder.parents), folder):  # mkdir gives its mode to the last alone
            if not part.is_dir():
                part.mkdir(mode=0o700, exist_ok=True)
        (folder / name).touch(mode=0o600)
