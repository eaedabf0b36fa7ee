"""Write numbers and what they count in messages."""

from __future__ import annotations

import math


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a number and what it counts: ``1 thread``, ``2 threads``; ``nouns`` where an s is not enough."""
    return f"{count} {noun if count == 1 else nouns or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a time in words, rounded up: ``90 s``, ``2.5 min``, ``12 min``, ``3 h``."""
    if seconds <= 100:
        return f"{math.ceil(seconds)} s"
    if seconds <= 600:
        return f"{math.ceil(seconds / 30) / 2:g} min"
    return f"{math.ceil(seconds / 60)} min" if seconds <= 7200 else f"{math.ceil(seconds / 1800) / 2:g} h"
