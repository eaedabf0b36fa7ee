"""Remember the known models: those made by this user's fmedge, and those that the user trusts like their own.

A model is known by a hash of its file and card together. A name and a folder prove nothing, and a card even less:
whoever sends a model also sends its card. Each known model is an empty file named by the hash, so nothing has to be
parsed, locked or repaired.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fmedge.errors import WriteError
from fmedge.system.user_folders import user_folder

if TYPE_CHECKING:
    from fmedge.model.card import ModelCard

_made_here: set[str] = set()
"""Hashes of the models that this process made. Most are intermediate models of a calibration and never written."""


def state_folder() -> Path:
    """Return the folder of the marks: ``FMEDGE_STATE``, otherwise a folder in the user's data folder."""
    chosen = os.environ.get("FMEDGE_STATE")
    if chosen:
        return Path(chosen)
    return user_folder("data")


def remember(card: ModelCard, *, lasting: bool = True) -> None:
    """Remember a model that was just built, or that the user trusts like their own.

    Args:
        card: Its card, with the file's hash.
        lasting: Also for later processes; where nothing can be written, only for this one.
    """
    name = _name(card)
    _made_here.add(name)
    if lasting:
        _mark("made", name)


def is_known(card: ModelCard) -> bool:
    """Return whether a model is known with this card, parity and predictions aside: they do not affect a run."""
    name = _name(card)
    return name in _made_here or _has_mark("made", name)


def forget(card: ModelCard) -> None:
    """Stop trusting a model.

    Raises:
        WriteError: The mark cannot be removed.
    """
    name = _name(card)
    _made_here.discard(name)
    try:
        (state_folder() / "made" / name).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        raise WriteError(f"Cannot remove what '{state_folder()}' records of the model ({error}).") from error


def _name(card: ModelCard) -> str:
    """Return the name of a model's mark: a hash of its file's hash and of the card's facts."""
    return hashlib.sha256(f"{card.file_sha256}\n{card.facts_json()}".encode()).hexdigest()


def _has_mark(kind: str, name: str) -> bool:
    try:
        return (state_folder() / kind / name).is_file()
    except (OSError, RuntimeError):  # no permission for the folder; no home
        return False


def _mark(kind: str, name: str) -> None:
    """Create an empty file; where that fails nothing is remembered, and the next run tries again."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = state_folder() / kind
        for part in (*reversed(folder.parents), folder):  # mkdir sets the mode of the last folder only
            if not part.is_dir():
                part.mkdir(mode=0o700, exist_ok=True)
        (folder / name).touch(mode=0o600)
