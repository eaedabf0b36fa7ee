"""Give pages plotly.js: the bundle for cartesian charts, which comes with fmedge, packed.

It is a third of the whole plotly.js, and a browser reads it in less than half the time. ``requirements/pack_plotly.py``
fetches and packs it: the version that the locked plotly package has, too.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from functools import cache

from fmedge.data.page_options import PlotlyPlace
from fmedge.render.document import asset, packed_asset

PACKED, FACTS, LICENCE = "plotly-cartesian.min.js.zz", "plotly-cartesian.json", "plotly-cartesian.LICENSE"
"""Files of render/assets: the script in zlib's format, its version and hash, its licence."""


@dataclass(frozen=True, slots=True, eq=False)
class PlotlyJs:
    """The script, packed.

    Attributes:
        version: Such as ``4.1.1``.
        licence: The licence's text.
        deflated: The whole script, deflated (zlib format), in base64.
        sha256: SHA-256 of the script's text in base64, as a Content-Security-Policy names it.
    """

    version: str
    licence: str
    deflated: bytes = field(repr=False)
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the script on Plotly's server, and next to a page with ``plotlyjs="file"``."""
        return f"plotly-cartesian-{self.version}.min.js"


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """plotly.js as used by a page.

    Attributes:
        element: The script element: the deflated script itself, or where it is loaded from.
        allowed: What a Content-Security-Policy must allow.
        licence: Its licence, where the page holds the script itself; otherwise a note on where it is.
    """

    element: bytes = field(repr=False)
    allowed: str
    licence: str


def place(choice: PlotlyPlace) -> Placed:
    """Prepare plotly.js for a page: inside it, from Plotly's server, or from a file next to it."""
    packed = prepare()
    if choice == "embed":
        block = b'<script type="text/plain" id="plotly">%s</script>' % packed.deflated
        return Placed(block, f"'sha256-{packed.sha256}'", packed.licence)
    if choice == "file":
        name = packed.file_name
        return Placed(f'<script src="{name}"></script>'.encode(), "'self' file:", f"nothing; plotly.js is in {name}")
    address = f"https://cdn.plot.ly/{packed.file_name}"
    element = f'<script src="{address}" integrity="sha256-{packed.sha256}" crossorigin="anonymous"></script>'
    return Placed(element.encode(), address, f"nothing; plotly.js comes from {address}")


def script_file() -> tuple[str, bytes]:
    """Return name and content of the file that must be next to a page with ``plotlyjs="file"``."""
    return prepare().file_name, zlib.decompress(packed_asset(PACKED))


@cache
def prepare() -> PlotlyJs:
    """Read the packed script and its licence, once per process."""
    facts = json.loads(asset(FACTS))
    return PlotlyJs(
        version=facts["version"],
        licence=f"plotly.js {facts['version']}, its bundle for cartesian charts\n{asset(LICENCE).decode()}",
        deflated=base64.b64encode(packed_asset(PACKED)),
        sha256=facts["sha256"],
    )
