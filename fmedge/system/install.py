"""Build the command that installs a missing extra from where fmedge itself was installed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple


class _Origin(NamedTuple):
    """Where an installed fmedge came from.

    Attributes:
        place: What pip accepts: a name, a path, or a name and an address after an @.
        options: Options of ``pip install`` that go before it.
        kernels: Where the package of our own kernels is; empty where only a clone would have it. Its name alone never
            stands here: it is on no index, so somebody else's package could be found there.
    """

    place: str = "fmedge{extra}"
    options: str = ""
    kernels: str = ""


NATIVE = "native"
"""What needs fmedge's own kernels: no extra, but a package of its own, in this folder of the repository."""


def install_command(extra: str = "") -> str:
    """Return the command that installs fmedge again, with an extra.

    Not every fmedge comes from a package index: the command names the clone, the wheel file or the repository that it
    came from.

    Args:
        extra: Its name in ``pyproject.toml``, such as ``ncnn``; ``native`` for our own kernels; empty for none.
    """
    import shlex  # only when an error is reported

    place, options, kernels = _origin()
    if extra == NATIVE:
        return f"pip install {shlex.quote(kernels)}" if kernels else f"pip install ./{NATIVE} in a clone of fmedge"
    wanted = place.replace("{extra}", f"[{extra}]" if extra else "")
    return f"pip install {options}{shlex.quote(wanted)}"


def in_place(advice: str) -> str:
    """Replace names of extras in braces by the commands that install them.

    Args:
        advice: Such as ``pip uninstall onnxruntime, then {gpu}``.
    """
    return re.sub(r"\{(\w+)\}", lambda found: install_command(found[1]), advice)


@cache
def _origin() -> _Origin:
    """Read where pip recorded that it installed fmedge from, if not from an index (PEP 610)."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        written = json.loads(distribution("fmedge").read_text("direct_url.json") or "{}")
        return origin_of(written)
    except (PackageNotFoundError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Origin()  # nothing was recorded, or nothing readable


def origin_of(written: dict[str, Any]) -> _Origin:
    """Return the origin that ``direct_url.json`` records.

    Args:
        written: The file's content; empty where fmedge came from an index.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: It does not follow PEP 610.
    """
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    if not written:
        return _Origin()
    address = urlsplit(str(written["url"]))
    if vcs := written.get("vcs_info"):
        repository = f"{vcs['vcs']}+{written['url']}@{vcs['commit_id']}"
        return _Origin(f"fmedge{{extra}} @ {repository}", "", f"fmedge-native @ {repository}#subdirectory={NATIVE}")
    if address.scheme != "file":
        return _Origin(f"fmedge{{extra}} @ {written['url']}")
    path = Path(url2pathname(address.path))
    if not path.exists():  # it has been moved, or was a temporary folder of pip
        return _Origin()
    editable = bool(written.get("dir_info", {}).get("editable"))
    kernels = path / NATIVE
    return _Origin(f"{path}{{extra}}", "-e " if editable else "", str(kernels) if kernels.is_dir() else "")
