"""plotly.js, made ready to stand inside a page."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from fmedge.errors import BackendUnavailable

DEFLATE_LEVEL = 1
"""4.8 MB become 1.7 in 45 ms; level 6 gives 1.5 in 105 ms."""

_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class PlotlyJs:
    """The script, packed.

    Attributes:
        licence: Its first comment: name, version, copyright and licence.
        deflated: The whole script, deflated (zlib format), in base64.
        sha256: SHA-256 of the script's text in base64, as a Content-Security-Policy names it.
    """

    licence: str
    deflated: bytes
    sha256: str


def prepare() -> PlotlyJs:
    """Pack the plotly.js that the plotly package brings along, once per process (about 50 ms).

    Call it in a thread while something else is loading; a second caller waits for the first.

    Raises:
        BackendUnavailable: The plotly package is not installed or lacks its script.
    """
    with _LOCK:
        return _pack()


@cache
def _pack() -> PlotlyJs:
    script = _read_script()
    first_comment = re.match(rb"\s*/\*(.*?)\*/", script, re.DOTALL)
    licence = first_comment[1].decode("utf-8", "replace") if first_comment else ""
    return PlotlyJs(
        licence="\n".join(line.strip("* ") for line in licence.strip("*\n ").splitlines()),
        deflated=base64.b64encode(zlib.compress(script, DEFLATE_LEVEL)),
        sha256=base64.b64encode(hashlib.sha256(script).digest()).decode(),
    )


def _read_script() -> bytes:
    """Read plotly.min.js without importing plotly, which takes longer than packing it."""
    package = find_spec("plotly")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_bytes()
    raise BackendUnavailable("plotly.js is missing: the page needs the plotly package. Install it: pip install plotly.")
