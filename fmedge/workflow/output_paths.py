"""Name the files that a run writes: decided before any work, all different, and none the same as an image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmedge.data.page_options import PageOptions
from fmedge.errors import UsageError
from fmedge.model.submodel import Activation, SubModel, file_word

_LONGEST_STEM = 150
"""Bytes of an image's name that are kept in a page's name: file systems allow 255 for the whole name."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files written for one image and tap; None for a file that is not written.

    Attributes:
        page: The HTML file.
        maps: The .npz file.
        sheet: The .png file with all channels.
    """

    page: Path | None = None
    maps: Path | None = None
    sheet: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The files that are written."""
        return [path for path in (self.page, self.maps, self.sheet) if path is not None]


_DEFAULTS = PageOptions()


def page_name(image: Path, submodel: SubModel, channel: int | None = None, options: PageOptions = _DEFAULTS) -> str:
    """Return the default file name of a page: image, layer, and every setting that is not the default."""
    return f"{_name(_short(image.stem), submodel, submodel.label, channel, options)}.html"


def name_outputs(
    images: Sequence[Path],
    submodel: SubModel,
    *,
    pages: Path | None,
    maps: Path | None,
    sheets: Path | None = None,
    channel: int | None = None,
    options: PageOptions = _DEFAULTS,
) -> dict[Path, dict[str, Outputs]]:
    """Name the files of a run of many images or taps.

    Args:
        images: The images.
        submodel: Gives the taps.
        pages: Folder for the pages; None if no pages are written.
        maps: Folder for the maps; None if they are not saved.
        sheets: Folder for the pictures; None if none are made.
        channel: The one channel that is drawn; None if all are.
        options: How the pages are made.

    Returns:
        The files, per image and tap. Images whose names differ only in the suffix keep it
        (``a.jpg.block1_conv1.html``); images with the same name in several folders get the folders' names too.

    Raises:
        UsageError: A file would overwrite an image.
    """
    named = {
        image: {
            tap: Outputs(
                pages and pages / f"{_name(stem, submodel, file_word(tap), channel, options)}.html",
                maps and maps / f"{_name(stem, submodel, file_word(tap), None)}.npz",
                sheets and sheets / f"{_name(stem, submodel, file_word(tap), channel, options)}.png",
            )
            for tap in submodel.taps
        }
        for image, stem in zip(images, _unique_stems(images), strict=True)
    }
    require_no_image(images, (outputs for taps in named.values() for outputs in taps.values()))
    return named


def require_no_image(images: Iterable[Path], outputs: Iterable[Outputs]) -> None:
    """Check that no output overwrites an image.

    Raises:
        UsageError: One would.
    """
    taken = {os.path.realpath(image) for image in images}
    for output in outputs:
        for path in output.paths:
            if os.path.realpath(path) in taken:
                raise UsageError(f"'{path}' is one of the images and would be overwritten. Choose another name.")


def _name(stem: str, submodel: SubModel, taps: str, channel: int | None, options: PageOptions = _DEFAULTS) -> str:
    activation = None if submodel.activation is Activation.RELU else submodel.activation
    shown = None if channel is None else f"channel{channel}"
    style = None if options.style == "viewer" else options.style
    return ".".join(filter(None, (stem, taps, "both" if options.both else activation, shown, style)))


def _short(stem: str) -> str:
    return os.fsencode(stem)[:_LONGEST_STEM].decode(errors="ignore") or "image"


def _unique_stems(images: Sequence[Path]) -> list[str]:
    """Return a stem for each image that is unique even where file names are not case-sensitive."""
    common = _common_folder(images)
    ways: tuple[Callable[[Path], str], ...] = (
        lambda image: _short(image.stem),
        lambda image: _short(image.name),
        lambda image: _short("-".join(_below(image, common).parts)),
    )
    words: dict[Path, str] = {}
    left = list(images)
    for way in ways:
        alike = Counter(way(image).casefold() for image in left)
        taken = {word.casefold() for word in words.values()}
        words |= {
            image: way(image)
            for image in left
            if alike[way(image).casefold()] == 1 and way(image).casefold() not in taken
        }
        left = [image for image in left if image not in words]
    taken = {word.casefold() for word in words.values()}
    for image in left:  # names that are shortened, or differ only in case
        numbered = (f"{_short(image.stem)}-{number}" for number in range(1, len(images) + 1))
        words[image] = next(word for word in numbered if word.casefold() not in taken)
        taken.add(words[image].casefold())
    return [words[image] for image in images]


def _common_folder(images: Sequence[Path]) -> str:
    folders = [os.path.dirname(os.path.abspath(image)) for image in images]  # noqa: PTH100, PTH120 - links stay links
    try:
        return os.path.commonpath(folders)
    except ValueError:  # the images are on several drives, or there are none
        return ""


def _below(image: Path, folder: str) -> Path:
    path = os.path.abspath(image)  # noqa: PTH100
    return Path(os.path.relpath(path, folder) if folder else os.path.splitdrive(path)[1].lstrip("\\/"))
