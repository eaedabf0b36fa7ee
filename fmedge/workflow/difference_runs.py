"""Run two models on the same photos, and compare their maps: one photo after another, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmedge.errors import FmedgeError, ImageError, LimitExceeded, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.parity import Parity
from fmedge.model.run_options import RunOptions
from fmedge.runtime.gate.checks import require_artifact
from fmedge.runtime.opening import open_session
from fmedge.runtime.tap_codes import read_codes
from fmedge.workflow.difference import Comparison, Difference
from fmedge.workflow.extraction import Extraction, Taps
from fmedge.workflow.pipeline import run_taps

Sides = tuple[tuple[Artifact, RunOptions], tuple[Artifact, RunOptions]]
"""A, the reference, and B: the model, and how it is run."""

_OF_THE_PHOTO = (ImageError, LimitExceeded, UsageError)
"""Errors that concern a single photo; all others concern the whole run."""


@dataclass(frozen=True, slots=True)
class ComparedPhotos:
    """What comparing two models on photos gave.

    Attributes:
        shown: The maps of the first photo that could be used: of A and of B, per tap.
        differences: Per layer, over all photos.
        parities: Per photo that could be used, the agreement of each layer.
        errors: Why photos could not be used.
    """

    shown: tuple[Taps, Taps] = field(repr=False)
    differences: list[Difference]
    parities: dict[Path, dict[str, Parity]]
    errors: dict[Path, FmedgeError]


def compare_photos(
    sides: Sides,
    photos: Sequence[Path],
    on_photo: Callable[[int, FmedgeError | None], None] = lambda number, error: None,
) -> ComparedPhotos:
    """Compare two models on photos.

    Args:
        sides: Both models.
        photos: JPEG, PNG, WebP or BMP files, each named once.
        on_photo: Called after each photo with how many are done, and the error of one that cannot be used.

    Raises:
        ImageError: No photo can be used.
        UsageError: The models cannot be compared.
        FmedgeError: See :func:`run_both`.
    """
    comparison = Comparison(read_codes(sides[1][0]))
    shown: tuple[Taps, Taps] | None = None
    parities: dict[Path, dict[str, Parity]] = {}
    errors: dict[Path, FmedgeError] = {}
    with closing(run_both(sides, photos)) as results:
        for photo, made in results:  # not counted by enumerate, which would hold the maps
            if isinstance(made, FmedgeError):
                errors[photo] = made
            else:
                shown = shown or made
                parities[photo] = {each.layer: each.parity for each in comparison.add(*made)}
            del made  # or it would stay while the next photo is computed
            on_photo(len(parities) + len(errors), errors.get(photo))
    if shown is None:
        raise ImageError(f"None of the {len(photos)} images could be used.")
    return ComparedPhotos(shown, comparison.differences(), parities, errors)


def run_both(sides: Sides, photos: Sequence[Path]) -> Generator[tuple[Path, tuple[Taps, Taps] | FmedgeError]]:
    """Run both models on photos.

    With one photo, one model is closed before the other is opened; with several, both stay open.

    Args:
        sides: Both models.
        photos: JPEG, PNG, WebP or BMP files.

    Yields:
        Each photo, in order, with the maps of A and of B per tap. Of several photos, one that cannot be used comes with
        its error.

    Raises:
        FmedgeError: See :func:`fmedge.workflow.pipeline.run_taps`.
    """
    if len(photos) == 1:
        (first, run), (second, other) = sides
        yield photos[0], (run_taps(first, photos[0], run=run), run_taps(second, photos[0], run=other))
        return
    for artifact, _ in sides:
        require_artifact(artifact)  # before anything is allocated as large as the card says
    with ExitStack() as ending:
        jobs = [Extraction(artifact.card, "nearest", replace(run, spinning=False)) for artifact, run in sides]
        sessions = [
            ending.enter_context(open_session(artifact, job.run))
            for (artifact, _), job in zip(sides, jobs, strict=True)
        ]
        for photo in photos:
            try:
                first, second = (
                    job.maps(session, job.load(photo)) for job, session in zip(jobs, sessions, strict=True)
                )
            except _OF_THE_PHOTO as error:
                yield photo, error
            else:
                yield photo, (first, second)
                del first, second  # or they would stay while the next photo is computed
