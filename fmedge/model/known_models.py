"""Which models are known: those that this user's fmedge made itself, and those that the user took as their own.

What is known are hashes, of a file and its card together. A name and a folder say nothing, and a card least of all: who
sends a model sends its card. Each is an empty file named by the hash, so that nothing has to be parsed, locked or
repaired.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fmedge.errors import WriteError

if TYPE_CHECKING:
    from fmedge.model.card import ModelCard

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


def remember(card: ModelCard, *, lasting: bool = True) -> None:
    """Remember a model that was just built, or that the user takes as one of their own.

    Args:
        card: Its card, with the file's hash.
        lasting: For later processes too; where nothing can be written, for this one alone.
    """
    name = _name(card)
    _made_here.add(name)
    if lasting:
        _mark("made", name)


def is_known(card: ModelCard) -> bool:
    """Whether a model is one's own: with this very card, but for its parity, which says nothing of how it is run."""
    name = _name(card)
    return name in _made_here or _has_mark("made", name)


def forget(card: ModelCard) -> None:
    """Take a model as somebody else's again.

    Raises:
        WriteError: What was remembered cannot be removed.
    """
    name = _name(card)
    _made_here.discard(name)
    try:
        (state_folder() / "made" / name).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        raise WriteError(f"What is remembered in '{state_folder()}' cannot be removed ({error}).") from error


def _name(card: ModelCard) -> str:
    """What a model is remembered by: a hash of its file's hash and of the card's facts."""
    return hashlib.sha256(f"{card.file_sha256}\n{card.facts_json()}".encode()).hexdigest()


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
