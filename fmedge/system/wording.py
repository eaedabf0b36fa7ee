"""Write numbers and what they count in messages."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return a number and what it counts: ``1 thread``, ``2 threads``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
