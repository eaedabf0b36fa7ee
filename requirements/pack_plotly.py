"""Pack plotly.js' bundle for cartesian charts, which every page holds: by ``make plotly``.

Give it the archive of npm's package ``plotly.js-cartesian-dist-min``, of the version that the locked plotly package
has; ``--version`` prints that version. Packed with Zopfli, the script is 4 % smaller than with zlib at its best.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import tarfile
import zlib
from importlib.util import find_spec
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "fmedge" / "render" / "assets"
NAME = "plotly-cartesian"


def version_of(script: bytes) -> str:
    """The version in the script's first comment."""
    found = re.search(rb"plotly\.js(?: \([\w -]+\))? v([\w.-]+)", script[:500])
    if found is None:
        raise SystemExit("plotly.js does not say its version.")
    return found[1].decode()


def version_of_package() -> str:
    """The version of plotly.js in the plotly package that is installed."""
    package = find_spec("plotly")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("plotly is not installed.")
    return version_of((Path(package.submodule_search_locations[0]) / "package_data" / "plotly.min.js").read_bytes())


def pack(archive: Path) -> None:
    """Write the packed script, its facts and its licence to render/assets."""
    from zopfli.zlib import compress

    with tarfile.open(archive) as package:
        script, licence = (_read(package, f"package/{name}") for name in (f"{NAME}.min.js", "LICENSE"))
    if version_of(script) != version_of_package():
        raise SystemExit(f"{archive} is {version_of(script)}; the plotly package has {version_of_package()}.")
    packed = compress(script)
    if zlib.decompress(packed) != script:
        raise SystemExit("Zopfli's output is not the script.")
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    (ASSETS / f"{NAME}.min.js.zz").write_bytes(packed)
    (ASSETS / f"{NAME}.json").write_text(json.dumps({"version": version_of(script), "sha256": digest}) + "\n")
    (ASSETS / f"{NAME}.LICENSE").write_bytes(licence)


def _read(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    if member is None:
        raise SystemExit(f"The archive has no {name}.")
    return member.read()


if __name__ == "__main__":
    if sys.argv[1] == "--version":
        print(version_of_package())  # noqa: T201
    else:
        pack(Path(sys.argv[1]))
