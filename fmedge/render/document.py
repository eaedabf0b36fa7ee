"""What every page is made of: a frame whose gaps are filled, a policy for its scripts, data that stays data."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

_PLACEHOLDER = re.compile(rb"\{\{(\w+)\}\}")

_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""So that no text can end the script element it stands in; json.dumps itself escapes all but ASCII."""


def policy(*scripts: str) -> bytes:
    """A Content-Security-Policy: these scripts (hashes or addresses), Plotly's inline styles, pictures in the page."""
    return (
        f"default-src 'none'; script-src {' '.join(scripts)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    ).encode()


def script_hash(script: bytes) -> str:
    """A script as a Content-Security-Policy names it: ``'sha256-…'``."""
    return f"'sha256-{base64.b64encode(sha256(script).digest()).decode()}'"


def comment(text: str) -> bytes:
    """Text that cannot end the HTML comment it stands in."""
    return text.replace(">", "&gt;").encode()


def json_block(data: dict[str, Any]) -> bytes:
    """JSON that cannot end the script element it stands in: ASCII without ``<``, ``>`` and ``&``."""
    return json.dumps(data, allow_nan=False).translate(_JSON_ESCAPES).encode()


def fill(template: bytes, values: dict[str, bytes]) -> bytes:
    """Replace every ``{{name}}``; the values are not looked into."""
    return _PLACEHOLDER.sub(lambda match: values[match[1].decode()], template)


@cache
def asset(name: str) -> bytes:
    """A file of render/assets with line ends as a browser reads them, or the script's hash would differ."""
    return (files("fmedge.render") / "assets" / name).read_bytes().replace(b"\r\n", b"\n")


def assets(*names: str) -> bytes:
    """Several files of render/assets, one after the other."""
    return b"\n".join(asset(name) for name in names)
