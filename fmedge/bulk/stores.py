"""Where a data set's files lie: a folder, or a place that fsspec reaches. A file there is whole or missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fmedge.bulk.remote import bounded, connect, is_remote, local_path, reaching
from fmedge.errors import ArtifactError
from fmedge.system import files, reading

MAX_FILE_BYTES = 1 << 34

_SLOW_READ_BYTES = 1 << 28
"""Bytes that a file of a data set is given time for: four times those of a shard."""

_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "hf", "memory"})
"""Kinds of places where a file appears as a whole, or not at all; elsewhere it is renamed when it is whole."""


class Store(Protocol):
    """A place for files, with names that may have slashes."""

    @property
    def address(self) -> str:
        """How users write it."""
        ...

    def create(self) -> None:
        """Make the place where it is missing."""
        ...

    def names(self) -> set[str]:
        """Return the names of the files and folders at the top."""
        ...

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            ArtifactError: There is none, or it cannot be read.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, as a whole or not at all.

        Raises:
            WriteError: That failed here.
            BackendUnavailable: That failed elsewhere.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...


def open_store(address: str) -> Store:
    """Return the place with an address: a path, or anything that fsspec knows.

    Raises:
        BackendUnavailable: What reaches it is missing.
    """
    return _Remote(address.rstrip("/")) if is_remote(address) else _Folder(Path(local_path(address)))


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    def create(self) -> None:
        files.create_folder(self.path)

    def names(self) -> set[str]:
        return {each.name for each in self.path.iterdir()} if files.is_folder(self.path) else set()

    def sizes(self) -> dict[str, int]:
        return dict(self._sizes())

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for place in self.path.rglob("*"):
            if place.is_file():
                yield place.relative_to(self.path).as_posix(), place.stat().st_size

    def read(self, name: str) -> bytes:
        return reading.read_bytes(self.path / name, MAX_FILE_BYTES)

    def write(self, name: str, content: bytes) -> None:
        place = self.path / name
        if "/" in name:
            files.create_folder(place.parent)
        files.write_bytes(place, content)

    def remove(self, name: str) -> None:
        files.remove(self.path / name)


@dataclass(frozen=True, slots=True)
class _Remote:
    address: str
    _files: Any = field(init=False, repr=False, compare=False)
    _root: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found, root = connect(self.address)
        object.__setattr__(self, "_files", found)
        object.__setattr__(self, "_root", root.rstrip("/"))

    def __reduce__(self) -> tuple[type[_Remote], tuple[str]]:
        return _Remote, (self.address,)

    def create(self) -> None:
        pass  # folders are parts of names there, or are made with the first file

    def names(self) -> set[str]:
        self._files.invalidate_cache()
        with reaching(self.address):
            try:
                found: list[str] = bounded(self._files, "ls", self._root, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return set()
        return {each.rstrip("/").rpartition("/")[2] for each in found} - {""}

    def sizes(self) -> dict[str, int]:
        self._files.invalidate_cache()
        with reaching(self.address):
            found: dict[str, dict[str, Any]] = bounded(self._files, "find", self._root, detail=True)
        return {name[len(self._root) + 1 :]: int(each["size"]) for name, each in found.items()}

    def read(self, name: str) -> bytes:
        with reaching(self._at(name)):
            try:
                return bounded(self._files, "cat_file", f"{self._root}/{name}", size=_SLOW_READ_BYTES)
            except FileNotFoundError as error:
                raise ArtifactError(f"Cannot read '{self._at(name)}': No such file.") from error

    def write(self, name: str, content: bytes) -> None:
        target = f"{self._root}/{name}"
        with reaching(self._at(name)):
            if self.address.partition(":")[0] in _ATOMIC:
                bounded(self._files, "pipe_file", target, content, size=len(content))
                return
            folder, _, last = target.rpartition("/")
            self._files.makedirs(folder, exist_ok=True)
            draft = f"{folder}/.{last}.tmp"
            bounded(self._files, "pipe_file", draft, content, size=len(content))
            self._files.mv(draft, target)

    def remove(self, name: str) -> None:
        with reaching(self._at(name)):
            try:
                bounded(self._files, "rm_file", f"{self._root}/{name}")
            except FileNotFoundError:
                return

    def _at(self, name: str) -> str:
        return f"{self.address}/{name}"
