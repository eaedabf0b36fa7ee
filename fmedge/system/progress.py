"""How long work tells how it gets on."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what is done, in words (``download 3.1 of 58.9 MB``), and its share of the whole, 0 to 1."""


def no_progress(words: str, share: float) -> None:
    """A :data:`Progress` for nobody."""
