"""The photos that int8's ranges are taken from."""

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
from fmedge.model.vgg16 import INPUT_SIZE
from fmedge.system.files import is_folder
from fmedge.system.log import log
from fmedge.system.progress import Progress, no_progress
from fmedge.system.reading import open_regular

SUGGESTED = 64
"""Photos suggested for calibration."""
FEW = 16
"""Below this the ranges are a matter of luck: a warning."""
FEWEST = 4
"""Below this there is no calibration."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Photos, decoded anew at every pass: memory does not grow with their number.

    Attributes:
        photos: The files, each known to decode.
        sha256: Hash of their contents, in order.
        progress: Told how the calibration gets on.
    """

    photos: tuple[Path, ...]
    sha256: str
    progress: Progress = no_progress

    def images(self, size: tuple[int, int] | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the photos one by one through the preprocessing of ``run``: uint8, (height, width, 3), RGB."""
        for path in self.photos:
            yield load_photo(path, size or INPUT_SIZE).pixels

    def some(self, count: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """A few of them as one batch, repeated where there are too few: uint8, (count, height, width, 3)."""
        chosen = [self.photos[index % len(self.photos)] for index in range(count)]
        return np.stack([load_photo(path, size).pixels for path in chosen])

    def describe(self) -> str:
        """In words, for the card."""
        return f"{len(self.photos)} photos, sha256 {self.sha256[:16]}"


def read_calibration(
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> Calibration:
    """Look through a folder of photos.

    Args:
        folder: Its JPEG, PNG, WebP and BMP files are taken, by name; folders in it are not.
        progress: Told how the calibration gets on.

    Raises:
        UsageError: There is no such folder, or it holds fewer than :data:`FEWEST` usable photos.
    """
    if not is_folder(folder):
        raise UsageError(f"No calibration folder '{folder}'. Give a folder of photos, {SUGGESTED} or more.")
    try:
        candidates = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise UsageError(f"Cannot look into the calibration folder '{folder}': {error.strerror}.") from error
    good = list(_usable(candidates))
    if len(good) < FEWEST:
        raise UsageError(
            f"'{folder}' holds {len(good)} usable photos. Allowed: {FEWEST} or more; suggested: {SUGGESTED}. Add some."
        )
    if len(good) < FEW:
        log.warning(
            f"Only {len(good)} photos to calibrate with: the ranges are a matter of luck. Suggested: {SUGGESTED}."
        )
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
