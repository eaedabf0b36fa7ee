"""Write a folder of files so that its name holds either all of them or what was there before, or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from fmedge.errors import ArtifactError, WriteError
from fmedge.system.files import sync_folder, write_error
from fmedge.system.reading import holds, open_regular, read_bytes
from fmedge.system.temp_files import folder_beside, sweep, turn

RECORD = "fmedge-files.sha256"
"""Name and hash of every other file, as ``sha256sum -c`` reads them. A folder that has it was made here."""

_MAX_RECORD_BYTES = 1 << 20

_BLOCK_BYTES = 1 << 18
"""Bytes read at a time when a file is hashed."""

_BUILT = "CMakeCache.txt"
"""A folder with this file in it is CMake's: what was built there can be built again."""

_KEEP = "Move it away, or choose another folder: --models DIR."


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files as the whole content of a folder, with a record of them.

    They are written to a temporary folder beside it, synced and read back; then that gets the name. A former folder
    is moved aside before, and comes back if this fails.

    Args:
        folder: Its final name.
        contents: Content by path below it, with ``/``.

    Raises:
        WriteError: The disk is full or the like, or see :func:`require_own`.
    """
    record = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    with write_error(folder):
        sweep(folder, folders=True)
        with folder_beside(folder) as draft:
            new, former = draft / "new", draft / "former"
            for name, content in {**contents, RECORD: record.encode()}.items():
                _write(folder, new / name, content)
            for place in {new, *(path for path in new.rglob("*") if path.is_dir())}:
                sync_folder(place)
            with turn(folder.parent):
                require_own(folder)
                try:
                    if os.path.lexists(folder):
                        folder.rename(former)
                    new.rename(folder)
                except BaseException:
                    if former.exists() and not os.path.lexists(folder):
                        former.rename(folder)
                    raise
                sync_folder(folder.parent)


def _write(folder: Path, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x+b") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        stream.seek(0)
        if not holds(stream, (content,)):
            raise WriteError(f"Cannot write '{folder}': it does not read back as it was written. Use another disk.")


def require_own(folder: Path) -> None:
    """Check that a name is free, or that all in a folder of that name is from :func:`write_folder` or built by CMake.

    Raises:
        WriteError: It is not.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise WriteError(f"Cannot write '{folder}': something else has that name.", hint=_KEEP)
    with write_error(folder):
        known = _read_record(folder)
        if known is None:
            raise WriteError(f"Cannot replace '{folder}': another program made it.", hint=_KEEP)
        for path in _files(folder):
            if not _is_known(path, known.get(path.relative_to(folder).as_posix())):
                raise WriteError(f"Cannot replace '{folder}': '{path.name}' in it was added or changed.", hint=_KEEP)


def _read_record(folder: Path) -> dict[str, str] | None:
    """Return the hash of each file by its name, that of the record, which every content fits, being empty."""
    try:
        lines = read_bytes(folder / RECORD, _MAX_RECORD_BYTES).decode().splitlines()
    except (ArtifactError, UnicodeDecodeError):
        return None
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)} | {RECORD: ""}


def _is_known(path: Path, sha256: str | None) -> bool:
    if sha256 is None or path.is_symlink() or not path.is_file():
        return False
    found = hashlib.sha256()
    with open_regular(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            found.update(block)
    return sha256 in ("", found.hexdigest())


def _files(folder: Path) -> Iterator[Path]:
    """Yield all below a folder that is not a folder itself, except what CMake built."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield path
        elif not (path / _BUILT).is_file():
            yield from _files(path)
