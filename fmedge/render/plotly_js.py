"""Prepare plotly.js for a page."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import zlib
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from fmedge.data.page_options import PlotlyPlace
from fmedge.errors import BackendUnavailable

DEFLATE_LEVEL = 1
"""4.8 MB become 1.7 in 45 ms; level 6 gives 1.5 in 105 ms."""

_LOCK = Lock()


@dataclass(frozen=True, slots=True, eq=False)
class PlotlyJs:
    """The script, packed.

    Attributes:
        version: Such as ``3.1.0``.
        licence: Its first comment: name, version, copyright and licence.
        deflated: The whole script, deflated (zlib format), in base64.
        sha256: SHA-256 of the script's text in base64, as a Content-Security-Policy names it.
    """

    version: str
    licence: str
    deflated: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """plotly.js as used by a page.

    Attributes:
        element: The script element: the deflated script itself, or where it is loaded from.
        allowed: What a Content-Security-Policy must allow.
        licence: Its first comment, where the page holds the script itself; otherwise a note on where it is.
    """

    element: bytes = field(repr=False)
    allowed: str
    licence: str


def place(choice: PlotlyPlace) -> Placed:
    """Prepare plotly.js for a page: inside it, from Plotly's server, or from a file next to it.

    Raises:
        BackendUnavailable: The plotly package is not installed or lacks its script.
    """
    packed = prepare()
    if choice == "embed":
        block = b'<script type="text/plain" id="plotly">%s</script>' % packed.deflated
        return Placed(block, f"'sha256-{packed.sha256}'", packed.licence)
    if choice == "file":
        name = file_name()
        return Placed(f'<script src="{name}"></script>'.encode(), "'self' file:", f"nothing; plotly.js is in {name}")
    address = f"https://cdn.plot.ly/plotly-{packed.version}.min.js"
    element = f'<script src="{address}" integrity="sha256-{packed.sha256}" crossorigin="anonymous"></script>'
    return Placed(element.encode(), address, f"nothing; plotly.js comes from {address}")


def file_name() -> str:
    """Return the name of the file that a page with ``plotlyjs="file"`` loads."""
    return f"plotly-{prepare().version}.min.js"


def script_file() -> tuple[str, bytes]:
    """Return name and content of the file that must be next to a page with ``plotlyjs="file"``.

    Raises:
        BackendUnavailable: The plotly package is not installed or lacks its script.
    """
    return file_name(), _read_script()


def prepare() -> PlotlyJs:
    """Pack the plotly.js that comes with the plotly package, once per process (about 50 ms).

    A second caller waits for the first.

    Raises:
        BackendUnavailable: The plotly package is not installed or lacks its script.
    """
    with _LOCK:
        return _pack()


def load_script_early() -> None:
    """Call :func:`prepare` in a thread; errors are reported when the page is made."""
    with contextlib.suppress(Exception):
        prepare()


@cache
def _pack() -> PlotlyJs:
    script = _read_script()
    first_comment = re.match(rb"\s*/\*(.*?)\*/", script, re.DOTALL)
    licence = first_comment[1].decode("utf-8", "replace") if first_comment else ""
    version = re.search(r"plotly\.js v([\w.-]+)", licence)
    return PlotlyJs(
        version=version[1] if version else "latest",
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
    raise BackendUnavailable(
        "plotly.js is missing: the page needs the plotly package.", hint="Install it: pip install plotly."
    )
