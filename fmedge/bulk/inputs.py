"""The images of a data set: folders, patterns, lists and tar archives, in the same order on every machine."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmedge.data.image_bounds import MAX_BYTES
from fmedge.data.image_list import IMAGE_SUFFIXES, is_several
from fmedge.errors import ArtifactError, ImageError, UsageError
from fmedge.system.files import is_file, is_folder
from fmedge.system.reading import read_bytes

LIST_SUFFIXES = (".txt", ".lst")
TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz")

_MOST_LIST_BYTES = 1 << 34


@dataclass(frozen=True, slots=True)
class Input:
    """An image.

    Attributes:
        key: What it is called in the data set: its path below the folder that was named, a list's line, or a member.
        path: The file, or the archive.
        offset: Where its bytes begin in an archive; None for a file of its own.
        size: How many bytes it has there.
    """

    key: str
    path: Path
    offset: int | None = None
    size: int = 0

    def read(self) -> bytes:
        """Return the image's bytes.

        Raises:
            ImageError: They cannot be read.
        """
        if self.offset is None:
            try:
                return read_bytes(self.path, MAX_BYTES)
            except ArtifactError as error:
                reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else "it is too large"
                raise ImageError(f"'{self.key}' cannot be read: {reason}.") from error
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise ImageError(f"'{self.key}' cannot be read: {error.strerror}.") from error
        if len(content) < self.size:
            raise ImageError(f"'{self.key}' cannot be read: its archive ends within it.")
        return content


def find_inputs(sources: Sequence[Path]) -> list[Input]:
    """Return the images that sources stand for, each with a key of its own.

    A folder stands for all images in it and below, sorted by their paths; a pattern for what matches, sorted; a file
    ``.txt`` or ``.lst`` for the paths in its lines, which count from its folder; a ``.tar`` for its members, in their
    order. Anything else is an image.

    Raises:
        ImageError: There is none, a source is missing, or a list or archive cannot be read.
        UsageError: Two have the same key.
    """
    found = [each for source in sources for each in _expand(source, several=len(sources) > 1)]
    if not found:
        raise ImageError(f"No images in '{sources[0]}'." if sources else "No images were named.")
    seen: set[str] = set()
    for each in found:
        if each.key in seen:
            raise UsageError(f"Two inputs are called '{each.key}'. Name their common folder, or use a list of paths.")
        seen.add(each.key)
    return found


def _expand(source: Path, *, several: bool) -> Iterator[Input]:
    if is_folder(source):
        start = f"{source.name}/" if several and source.name else ""
        for path in _walk(source):
            yield Input(start + path.relative_to(source).as_posix(), path)
    elif source.name.endswith(TAR_SUFFIXES) and is_file(source):
        yield from _members(source)
    elif source.suffix.lower() in LIST_SUFFIXES and is_file(source):
        try:
            lines = read_bytes(source, _MOST_LIST_BYTES).decode().splitlines()
        except (ArtifactError, UnicodeDecodeError) as error:
            raise ImageError(f"'{source}' is not a list of paths: {error}") from error
        for line in filter(None, map(str.strip, lines)):
            yield Input(line, source.parent / line)
    elif is_several(source):
        from fmedge.data.image_list import expand_images

        for path in expand_images([source]):
            yield Input(path.as_posix(), path)
    elif is_file(source):
        yield Input(source.name, source)
    else:
        raise ImageError(f"No file or folder '{source}'.")


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and below, sorted, without hidden ones; each folder once, by whatever links."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(place) as listed:
            entries = sorted(
                (entry for entry in listed if not entry.name.startswith(".")), key=lambda entry: entry.name
            )
        yield from (
            place / entry.name for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file()
        )
        waiting += [place / entry.name for entry in reversed(entries) if entry.is_dir()]


def _members(archive: Path) -> Iterator[Input]:
    """Yield the images in a tar archive, in their order, with where their bytes lie; compressed ones are refused."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(IMAGE_SUFFIXES):
                    yield Input(f"{archive.stem}/{member.name}", archive, member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ImageError(f"'{archive}' is not a plain tar archive ({error}). Decompress it first.") from error
