"""How long-running work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what has been done, in words (``download 3.1 of 58.9 MB``), and its share of the whole, 0 to 1."""


def no_progress(words: str, share: float) -> None:
    """Ignore the report: a :data:`Progress` that shows nothing."""
