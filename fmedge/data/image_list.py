"""Find the images that are meant by files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from fmedge.errors import ImageError
from fmedge.system.files import is_file, is_folder

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Suffixes of images in a folder, in lower case."""


def is_several(path: Path) -> bool:
    """Return whether a path stands for any number of images: a folder, or a pattern such as ``photos/*.jpg``."""
    return is_folder(path) or _is_pattern(path)


def expand_images(paths: Iterable[Path]) -> list[Path]:
    """Return the images that the paths stand for, each once, in the order in which they were named.

    A folder stands for the images in it, known by suffix and sorted by name, without subfolders. A pattern (``*``,
    ``?``, ``[...]``; ``**`` for folders of any depth) stands for the images that match, sorted; if it ends in a suffix,
    for all files that match. Hidden files are left out. Links to folders are followed, but each folder is read only
    once, however many links lead to it. Anything else is taken as a file, whether or not it exists.

    Raises:
        ImageError: A folder holds no image, or nothing matches a pattern.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for image in _expand(path):
            found.setdefault(os.path.abspath(image), image)  # noqa: PTH100 - resolve() would follow links
    return list(found.values())


def _expand(path: Path) -> list[Path]:
    if is_folder(path):
        images = sorted(entry for entry in _entries(path) if _is_image(entry) and not entry.name.startswith("."))
        if not images:
            raise ImageError(
                f"No images in the folder '{path}'. Looked for: {', '.join(IMAGE_SUFFIXES)}. "
                f"With subfolders: '{path}/**'."
            )
        return images
    if not _is_pattern(path):
        return [path]
    suffix = path.suffix
    exact = bool(suffix) and not glob.has_magic(suffix)
    matches = sorted(_matches(path))
    images = [match for match in matches if is_file(match) and (exact or _is_image(match))]
    if not images:
        raise ImageError(f"Nothing matches '{path}'. Check the pattern; for folders of any depth: 'photos/**/*.jpg'.")
    return images


def _matches(pattern: Path, folder: Path = Path()) -> Iterator[Path]:
    """Yield what matches a pattern below a folder, as in a shell, but without links to folders already seen."""
    parts = pattern.parts
    if "**" not in parts:
        names = glob.iglob(str(pattern), root_dir=folder)  # noqa: PTH207 - as a shell does
        yield from (folder / name for name in names)
        return
    at = parts.index("**")
    for inner in _folders_below(_matches(Path(*parts[:at]), folder) if at else [folder]):
        yield from _matches(Path(*parts[at + 1 :] or "*"), inner)


def _folders_below(starts: Iterable[Path]) -> Iterator[Path]:
    """Yield these folders and all below except hidden ones, each once; by a link only if it has no other path."""
    seen: set[tuple[int, int]] = set()
    waiting, links = deque(starts), deque[Path]()
    while waiting or links:
        folder = (waiting or links).popleft()
        try:
            status = folder.stat()
            with os.scandir(folder) as entries:
                inner = sorted((entry for entry in entries if _is_open_folder(entry)), key=lambda entry: entry.name)
        except OSError:  # no permission, or not a folder: a shell skips it
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield folder
        for entry in inner:
            (links if entry.is_symlink() else waiting).append(folder / entry.name)


def _is_open_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError as error:
        raise ImageError(f"Cannot read the folder '{folder}': {error.strerror}.") from error


def _is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern; an existing file whose name only looks like one is a file."""
    return glob.has_magic(str(path)) and not is_file(path)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES
