"""The packages that a board gets: our own as a wheel, pip to install with, and what they need, locked by hashes.

``lock.txt`` is written by ``make lock``: the versions and hashes of what fmedge and the engines for boards need, on
every platform.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files as resources
from pathlib import Path
from typing import NamedTuple

from fmedge.boards.probe import Python
from fmedge.errors import BackendUnavailable, BoardUnavailable, printable
from fmedge.system import children

_EPOCH = 946684800
_DATE = (2000, 1, 1, 0, 0, 0)
"""The time of files in a wheel that is no commit's: 1 January 2000."""

_BUILD_S = 300.0
_DOWNLOAD_S = 1800.0
_MOST_BYTES = 1 << 28
"""Most bytes of an installed file that goes into a wheel."""

_NOT_PACKED = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s"})
"""Files that installing adds to a package's ``.dist-info``, or that are written anew."""


def lock() -> str:
    """Return the requirements of a board, each with its version and hashes."""
    return resources("fmedge.boards").joinpath("lock.txt").read_text()


def own_wheel(folder: Path) -> Path:
    """Make a wheel of this fmedge: built from the clone it runs from, or put together from the installed package.

    Args:
        folder: Where it is written.

    Raises:
        BackendUnavailable: What builds it is missing, or the installed package is incomplete.
    """
    clone = Path(__file__).parents[2]
    if (clone / "hatch_build.py").is_file():
        return _build(clone, folder)
    return packed_wheel("fmedge", folder)


def _build(clone: Path, folder: Path) -> Path:
    """Build the wheel as ``make wheel`` does: the same bytes from the same commit."""
    words = ["git", "-C", str(clone), "log", "-1", "--format=%ct"]
    try:
        epoch = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        epoch = str(_EPOCH)
    ran = _python(
        ["-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], _BUILD_S, clone, SOURCE_DATE_EPOCH=epoch
    )
    built = sorted(folder.glob("fmedge-*.whl"))
    if ran.returncode or len(built) != 1:
        raise BackendUnavailable(
            f"The wheel for boards cannot be built here ({_last(ran.stderr)}).",
            hint="It is built with hatchling: pip install hatchling.",
        )
    return built[0]


def pip_wheel(folder: Path) -> Path:
    """Make a wheel of the pip of this Python: boards are set up with it, whether they have one or not.

    Raises:
        BackendUnavailable: There is none here.
    """
    try:
        return packed_wheel("pip", folder)
    except BackendUnavailable as error:
        import ensurepip

        bundled = Path(ensurepip.__file__).parent / "_bundled"  # where its wheels are, unless a distributor moved them
        for place in (bundled, Path("/usr/share/python-wheels")):
            for wheel in sorted(place.glob("pip-*.whl")):
                return wheel
        raise BackendUnavailable(
            "There is no pip here to set boards up with.", hint="Install it: python -m ensurepip."
        ) from error


def packed_wheel(name: str, folder: Path) -> Path:
    """Put a wheel together from an installed package, by its ``RECORD``; every file is held against its hash there.

    Raises:
        BackendUnavailable: It is not installed, not from a wheel, or was changed.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        raise BackendUnavailable(f"The package {name} is not installed as one.", hint="Install it with pip.") from error
    tags = re.findall(r"^Tag: (\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    if not found.files or not tags:
        raise BackendUnavailable(f"The package {name} has no record of its files.", hint="Install it with pip.")
    content = _content(name, found)
    (record,) = {each.partition("/")[0] for each in content if each.partition("/")[0].endswith(".dist-info")}
    rows = [(each, f"sha256={_digest(data)}", str(len(data))) for each, data in sorted(content.items())]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, (f"{record}/RECORD", "", "")])
    content[f"{record}/RECORD"] = text.getvalue().encode()
    wheel = folder / f"{record.removesuffix('.dist-info')}-{tags[0]}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, data in sorted(content.items(), key=lambda pair: (pair[0].startswith(record), pair[0])):
            entry = zipfile.ZipInfo(each, _DATE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return wheel


def _content(name: str, found: Distribution) -> dict[str, bytes]:
    """Read a package's files, by their paths in the wheel."""
    content: dict[str, bytes] = {}
    for each in found.files or ():
        inside = not each.is_absolute() and ".." not in each.parts  # scripts lie elsewhere: entry_points.txt has them
        added = each.name in _NOT_PACKED and each.parent.name.endswith(".dist-info")
        if not inside or added or each.suffix == ".pyc":
            continue
        path = Path(str(each.locate()))
        data = path.read_bytes() if path.is_file() and path.stat().st_size <= _MOST_BYTES else b""
        if each.hash is None or each.hash.mode != "sha256" or _digest(data) != each.hash.value:
            raise BackendUnavailable(f"The installed package {name} was changed: '{path}'.", hint="Install it again.")
        content[each.as_posix()] = data
    return content


def _digest(data: bytes) -> str:
    """Return a hash as ``RECORD`` has it (PEP 376): SHA-256 in base64 for addresses, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


_OLDEST_GLIBC = 17
"""Of ``manylinux_2_17``, which is ``manylinux2014``, too: the oldest level that wheels for 64-bit Arm have."""


class Tags(NamedTuple):
    """What wheels must be for, in the words of ``pip download``.

    Attributes:
        platforms: Such as ``manylinux_2_28_aarch64``, the newest level first.
        python: Such as ``311``.
        abis: Such as ``cp311``.
    """

    platforms: tuple[str, ...]
    python: str
    abis: tuple[str, ...]


def tags_of(python: Python) -> Tags:
    """Return the tags of wheels that a board's Python takes (PEP 600): each level of glibc up to its own."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(python.machine.lower(), python.machine)
    newest = python.libc_version[1] if python.libc_version[0] == 2 else _OLDEST_GLIBC
    levels = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
    version = f"{python.version[0]}{python.version[1]}"
    return Tags((*levels, f"manylinux2014_{machine}", f"linux_{machine}"), version, (f"cp{version}", "abi3", "none"))


def download(python: Python, folder: Path) -> list[Path]:
    """Fetch the locked wheels for a board to this machine.

    Args:
        python: The board's Python.
        folder: Where they are written.

    Raises:
        BoardUnavailable: One cannot be had, or there is none for that platform.
        BackendUnavailable: There is no pip here.
    """
    wanted = folder / "lock.txt"
    wanted.write_text(lock_for(python))
    tags = tags_of(python)
    words = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--no-deps"]
    words += ["--require-hashes", "--requirement", str(wanted), "--dest", str(folder), "--implementation", "cp"]
    words += ["--python-version", tags.python]
    words += [word for platform in tags.platforms for word in ("--platform", platform)]
    words += [word for abi in tags.abis for word in ("--abi", abi)]
    ran = _python(words, _DOWNLOAD_S, folder)
    wanted.unlink()
    if "No module named pip" in ran.stderr:
        raise BackendUnavailable("There is no pip here to fetch wheels with.", hint="Install it: python -m ensurepip.")
    if ran.returncode:
        raise BoardUnavailable(f"The packages for the board cannot be fetched here: {explain_pip(ran.stderr)}.")
    return sorted(folder.glob("*.whl"))


_MARKERS: Mapping[str, str] = {
    "sys_platform == 'win32'": "no",
    "python_full_version < '3.12'": "old",
    "python_full_version >= '3.12'": "new",
}
"""The conditions that the lock file has. ``pip download`` holds them against this machine, not against the board."""


def lock_for(python: Python) -> str:
    """Return the lock file's part for a board's Python, without conditions.

    Raises:
        BackendUnavailable: It has a condition that is not known here: a bug.
    """
    blocks = re.split(r"\n(?=\S)", lock().strip())
    chosen = {"old"} if python.version[:2] < (3, 12) else {"new"}
    kept: list[str] = []
    for block in blocks:
        head, _, rest = block.partition("\n")
        requirement, _, marker = head.removesuffix("\\").partition(" ; ")
        if marker.strip() and marker.strip() not in _MARKERS:
            raise BackendUnavailable(f"The lock file has a condition that is not known: {marker.strip()}.")
        if not marker.strip() or _MARKERS[marker.strip()] in chosen:
            kept.append(f"{requirement.strip()} \\\n{rest}")
    return "\n".join(kept) + "\n"


_PIP_SAYS = (
    (r"No space left on device|Errno 28|Disk quota", "the disk is full"),
    (
        r"CERTIFICATE_VERIFY_FAILED.*not yet valid|certificate is not yet valid",
        "its clock is behind, so certificates seem invalid",
    ),
    (r"certificate has expired", "its clock is ahead, so certificates seem expired"),
    (r"CERTIFICATE_VERIFY_FAILED", "the certificate of the package index is not accepted"),
    (
        r"NewConnectionError|Name or service not known|Temporary failure in name|Network is unreachable",
        "there is no network",
    ),
    (r"ConnectTimeout|Read timed out|Connection (refused|reset)|ProxyError", "the package index does not answer"),
    (r"DO NOT MATCH THE HASHES|HashMismatch", "a package is not the one that was locked"),
    (r"MemoryError|Cannot allocate memory", "the memory is full"),
    (r"No matching distribution found for (\S+)", "there is no package for this platform"),
    (r"not a supported wheel on this platform", "a package is for another platform"),
)
"""What pip says, and what that means; the most telling first."""


def explain_pip(text: str) -> str:
    """Say in a few words why pip failed."""
    for pattern, meaning in _PIP_SAYS:
        if found := re.search(pattern, text):
            name = f" ({printable(found[1])[:40]})" if found.groups() and "distribution" in pattern else ""
            return meaning + name
    return _last(text)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[-1])[:100].rstrip(".") if lines else "it says nothing"


def _python(words: list[str], longest_s: float, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with some words and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": "", **more}
    process = children.start(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=longest_s)
    except subprocess.TimeoutExpired:
        children.end(process)
        out, err = process.communicate()
        err += "\nit took too long"
    finally:
        children.end(process)
    return subprocess.CompletedProcess(words, process.returncode, out, err)
