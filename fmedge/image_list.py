"""Which images are meant: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fmedge.errors import ImageError
from fmedge.files import is_file, is_folder

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""By what a folder's images are known, in small letters."""


def is_several(path: Path) -> bool:
    """Whether a path stands for any number of images: a folder, or a pattern such as ``photos/*.jpg``."""
    return is_folder(path) or _is_pattern(path)


def expand_images(paths: Iterable[Path]) -> list[Path]:
    """The images that are meant, each once, in the order in which they were named.

    A folder stands for its images, known by suffix, sorted by name; folders in it are not looked into. A pattern
    (``*``, ``?``, ``[...]``; ``**`` for folders of any depth) stands for the images that match, sorted, or where it
    ends in a suffix for all that match. Hidden files are left out. Everything else is a file, be it there or not.

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
                f"No images in the folder '{path}'. Looked for: {', '.join(SUFFIXES)}. Deeper: '{path}/**'."
            )
        return images
    if not _is_pattern(path):
        return [path]
    suffix = path.suffix
    exact = bool(suffix) and not glob.has_magic(suffix)
    matches = sorted(Path(name) for name in glob.iglob(str(path), recursive=True))  # noqa: PTH207 - as a shell does
    images = [match for match in matches if is_file(match) and (exact or _is_image(match))]
    if not images:
        raise ImageError(f"Nothing matches '{path}'. Check the pattern; folders of any depth: 'photos/**/*.jpg'.")
    return images


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError as error:
        raise ImageError(f"Cannot read the folder '{folder}': {error.strerror}.") from error


def _is_pattern(path: Path) -> bool:
    """Whether a path is a pattern; a file whose name only looks like one is a file."""
    return glob.has_magic(str(path)) and not is_file(path)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES
