"""The command that installs what is missing, as it works from where fmedge itself was installed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple


class _Origin(NamedTuple):
    """Where an installed fmedge came from.

    Attributes:
        place: What pip takes: a name, a path, or a name and an address after an @.
        options: Those of ``pip install`` before it.
    """

    place: str = "fmedge{extra}"
    options: str = ""


def install_command(extra: str = "") -> str:
    """The command that installs fmedge again, with an extra.

    Not every fmedge comes from a package index: the command names the clone, the wheel's file or the repository that it
    came from.

    Args:
        extra: Its name in ``pyproject.toml``, such as ``ncnn``; empty for none.
    """
    import shlex  # only on the way to an error

    place, options = _origin()
    wanted = place.replace("{extra}", f"[{extra}]" if extra else "")
    return f"pip install {options}{shlex.quote(wanted)}"


def in_place(advice: str) -> str:
    """Put commands where an advice has names of extras in braces.

    Args:
        advice: Such as ``pip uninstall onnxruntime, then {gpu}``.
    """
    return re.sub(r"\{(\w+)\}", lambda found: install_command(found[1]), advice)


@cache
def _origin() -> _Origin:
    """Read what pip wrote down when it installed fmedge from elsewhere than an index (PEP 610)."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        written = json.loads(distribution("fmedge").read_text("direct_url.json") or "{}")
        return origin_of(written)
    except (PackageNotFoundError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Origin()  # nothing was written, or nothing that can be read


def origin_of(written: dict[str, Any]) -> _Origin:
    """What ``direct_url.json`` says.

    Args:
        written: The file's content; empty where fmedge came from an index.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: It is not as PEP 610 says.
    """
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    if not written:
        return _Origin()
    address = urlsplit(str(written["url"]))
    if vcs := written.get("vcs_info"):
        return _Origin(f"fmedge{{extra}} @ {vcs['vcs']}+{written['url']}@{vcs['commit_id']}")
    if address.scheme != "file":
        return _Origin(f"fmedge{{extra}} @ {written['url']}")
    path = Path(url2pathname(address.path))
    if not path.exists():  # it has been moved, or was a folder of pip's own
        return _Origin()
    editable = bool(written.get("dir_info", {}).get("editable"))
    return _Origin(f"{path}{{extra}}", "-e " if editable else "")
