"""Reading the words of ``fmedge run`` without Typer, which takes longer to load than a run computes.

What is read here is what Typer would read, word for word; ``tests/cli/test_fast_parser.py`` holds the two against each
other. All else is left to Typer: other commands, help, whatever is wrong or unusual.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fmedge.model.submodel import Format, Precision


def _number(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise ValueError(word)
    return int(word)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in allowed:
            raise ValueError(word)
        return word

    return read


VALUES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "--layer": ("layer", str),
    "--activation": ("activation", _one_of("relu", "none", "both")),
    "--channel": ("channel", _number),
    "--output": ("output", Path),
    "--save-maps": ("save_maps", Path),
    "--png": ("png", Path),
    "--values": ("values", _one_of("12bit", "float16", "float32")),
    "--plotlyjs": ("plotlyjs", _one_of("embed", "cdn", "file")),
    "--style": ("style", _one_of("viewer", "grid")),
    "--model": ("model", Path),
    "--resize": ("resize", _one_of("nearest", "bilinear", "bicubic", "none")),
    "--max-pixels": ("max_pixels", _number),
    "--format": ("model_format", Format),
    "--precision": ("precision", Precision),
    "--size": ("size", str),
    "--backend": ("backend", str),
    "--device": ("device", str),
    "--threads": ("threads", _number),
    "--cpus": ("cpus", str),
    "--math": ("math", _one_of("fp32", "bf16")),
    "--weights": ("weights", str),
    "--keras": ("keras", Path),
    "--preprocessing": ("preprocessing", str),
    "--scale": ("scale", str),
    "--mean": ("mean", str),
    "--std": ("std", str),
    "--order": ("order", _one_of("rgb", "bgr")),
    "--models": ("models", Path),
}
"""Per option that takes a value: the argument of :func:`fmedge.cli.run_job.run`, and how it is read."""

SWITCHES: Mapping[str, tuple[str, bool]] = {
    "--no-page": ("no_page", True),
    "--tuned": ("tuned", True),
    "--untuned": ("tuned", False),
    "--allow-fallback": ("allow_fallback", True),
    "--offline": ("offline", True),
    "--json": ("as_json", True),
}
"""Per option without a value: the argument, and what it makes of it."""


def read_quickly(words: Sequence[str]) -> dict[str, Any] | None:
    """The arguments of :func:`fmedge.cli.run_job.run` that a command line names; None leaves it to Typer."""
    plain = os.name == "posix" and "_FMEDGE_COMPLETE" not in os.environ  # elsewhere Typer expands patterns itself
    if not plain or not words or words[0] != "run":
        return None
    chosen: dict[str, Any] = {}
    images: list[Path] = []
    rest = iter(words[1:])
    try:
        for word in rest:
            if not word.startswith("-"):
                images.append(Path(_usual(word)))
                continue
            option, given, value = word.partition("=")
            if option in SWITCHES and not given:
                name, found = SWITCHES[option]
            else:
                name, read = VALUES[option]
                found = read(_usual(value if given else next(rest)))
            if name in chosen:  # the last one counts, for Typer
                return None
            chosen[name] = found
    except (KeyError, ValueError, StopIteration):
        return None
    return {"images": images, **chosen} if images else None


def _usual(word: str) -> str:
    """A word that nobody reads in two ways.

    Raises:
        ValueError: It is empty, looks like an option, or is no text.
    """
    if not word or word.startswith("-"):
        raise ValueError(word)
    word.encode()
    return word
