"""The photos that the ranges of an int8 model are derived from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmedge.data.image_list import IMAGE_SUFFIXES
from fmedge.data.images import load_photo
from fmedge.errors import ImageError, LimitExceeded, UsageError
from fmedge.model.stock import INPUT_SIZE
from fmedge.system.files import is_folder
from fmedge.system.log import log
from fmedge.system.progress import Progress, no_progress
from fmedge.system.reading import open_regular

SUGGESTED = 64
"""Suggested number of calibration photos."""
FEW = 16
"""With fewer photos the ranges depend on chance, so a warning is given."""
FEWEST = 4
"""Minimum number of calibration photos; fewer are refused."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration photos, decoded again on every pass so that memory does not grow with their number.

    Attributes:
        photos: The files; each was decoded once as a check.
        sha256: Hash of their contents, in order.
        progress: Receives the progress of the calibration.
    """

    photos: tuple[Path, ...]
    sha256: str
    progress: Progress = no_progress

    def images(self, size: tuple[int, int] | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the photos one by one, decoded and resized as ``run`` does: uint8, (height, width, 3), RGB."""
        for path in self.photos:
            yield load_photo(path, size or INPUT_SIZE).pixels

    def some(self, count: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return the first photos, repeated if there are too few, as one batch: uint8, (count, height, width, 3)."""
        chosen = [self.photos[index % len(self.photos)] for index in range(count)]
        return np.stack([load_photo(path, size).pixels for path in chosen])

    def describe(self) -> str:
        """Describe the photos in words, for the card."""
        return f"{len(self.photos)} photos, sha256 {self.sha256[:16]}"


def read_calibration(
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> Calibration:
    """Collect the calibration photos in a folder.

    Args:
        folder: Its JPEG, PNG, WebP and BMP files are used, sorted by name; sub-folders are ignored.
        progress: Receives the progress of the calibration.

    Raises:
        UsageError: The folder does not exist, or it holds fewer than :data:`FEWEST` usable photos.
    """
    if not is_folder(folder):
        raise UsageError(f"No calibration folder '{folder}'. Give a folder of photos, {SUGGESTED} or more.")
    try:
        candidates = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise UsageError(f"Cannot read the calibration folder '{folder}': {error.strerror}.") from error
    good = list(_usable(candidates))
    if len(good) < FEWEST:
        raise UsageError(
            f"'{folder}' holds {len(good)} usable photos. Allowed: {FEWEST} or more; suggested: {SUGGESTED}. Add some."
        )
    if len(good) < FEW:
        log.warning(f"Only {len(good)} photos for calibration: the ranges may not be reliable. Suggested: {SUGGESTED}.")
    digest = hashlib.sha256()
    for path in good:
        with open_regular(path) as file:
            digest.update(file.read())
    return Calibration(tuple(good), digest.hexdigest(), progress)


def _usable(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            load_photo(path, INPUT_SIZE)
        except (ImageError, LimitExceeded) as error:
            log.warning(f"Skipped: {error.in_full()}")
        else:
            yield path
