"""Build what every page consists of: a template with placeholders, a policy for its scripts, data that stays data."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_ASSETS = Path(__file__).with_name("assets")

_PLACEHOLDER = re.compile(rb"\{\{(\w+)\}\}")

_MODULE_WORDS = re.compile(rb"\n(?:import [^;]*;(?=\n)|(export )(?=async |function |const |let |class ))")
"""Imports with the line's end before them, and ``export``; a pattern that begins with a byte is three times as fast."""

_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""Escapes that keep a text from ending its script element; json.dumps itself escapes everything but ASCII."""


def policy(*scripts: str) -> bytes:
    """Return a Content-Security-Policy for these scripts (hashes or addresses), inline styles and embedded pictures.

    Plotly uses inline styles.
    """
    return (
        f"default-src 'none'; script-src {' '.join(scripts)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    ).encode()


def script_hash(script: bytes) -> str:
    """Return a script's hash as a Content-Security-Policy names it: ``'sha256-…'``."""
    return f"'sha256-{base64.b64encode(sha256(script).digest()).decode()}'"


def comment(text: str) -> bytes:
    """Encode text so that it cannot end the HTML comment that contains it."""
    return text.replace(">", "&gt;").encode()


def json_block(data: dict[str, Any]) -> bytes:
    """Encode JSON so that it cannot end the script element that contains it: ASCII without ``<``, ``>`` and ``&``."""
    return json.dumps(data, allow_nan=False).translate(_JSON_ESCAPES).encode()


def fill(template: bytes, values: dict[str, bytes]) -> bytes:
    """Replace every ``{{name}}``; placeholders inside the values are not replaced."""
    return _PLACEHOLDER.sub(lambda match: values[match[1].decode()], template)


@cache
def asset(name: str) -> bytes:
    """Read a file of render/assets.

    Line ends are those that a browser reads; otherwise the script's hash would differ.
    """
    return packed_asset(name).replace(b"\r\n", b"\n")


def packed_asset(name: str) -> bytes:
    """Read a file of render/assets as it is."""
    return (_ASSETS / name).read_bytes()


def assets(*names: str) -> bytes:
    """Read several files of render/assets, one after the other."""
    return b"\n".join(asset(name) for name in names)


def script(*names: str) -> bytes:
    """Read several modules of render/assets as one script, each after those that it needs while it is loaded."""
    return join_modules(*map(asset, names))


def join_modules(*modules: bytes) -> bytes:
    """Join ES modules to one script: they share its scope, so imports and exports are left out."""
    return b"'use strict';\n" + b"\n".join(_without_modules(module) for module in modules)


def _without_modules(module: bytes) -> bytes:
    return _MODULE_WORDS.sub(lambda found: b"\n" if found[1] else b"", b"\n" + module).lstrip()
