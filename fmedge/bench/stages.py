"""Time the way from a photo to its page, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from fmedge.data.images import load_photo
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.render.page import render_page
from fmedge.runtime.session import Session
from fmedge.workflow.extraction import Extraction, deepest

STAGES = ("decode", "resize", "copy in", "compute", "copy out", "render")
"""The stages in order. *copy in* makes the batch that the model takes; what an engine copies into its own memory counts
as *compute*, since most engines do both in one call. *copy out* is zero where an engine returns new arrays; the copy
that ncnn makes while it computes counts as *compute*."""


def prepare_stages(session: Session, image: Path) -> Callable[[], dict[str, float]]:
    """Go through all stages once, so that nothing is done for the first time later.

    Args:
        session: A loaded model.
        image: The photo.

    Returns:
        A function that goes through all stages and returns the seconds of each.
    """
    size = session.card.options.size or INPUT_SIZE
    job = Extraction(session.card, "nearest", RunOptions(session.backend))
    first = deepest(job.maps(session, load_photo(image, size)))

    def go() -> dict[str, float]:
        marks = [time.perf_counter()]
        photo = load_photo(image, None)
        marks.append(time.perf_counter())
        resized = Image.fromarray(photo.pixels).resize((size[1], size[0]), Image.Resampling.NEAREST)
        pixels = np.asarray(resized, np.uint8)
        marks.append(time.perf_counter())
        batch = np.repeat(pixels[np.newaxis], session.card.options.batch or 1, axis=0)
        marks.append(time.perf_counter())
        steps: dict[str, float] = {}
        maps = session.run(batch, steps=steps)[first.layer][:1]
        rendering = time.perf_counter()
        render_page(replace(first, maps=maps, pixels=pixels[np.newaxis]))
        ends = {name: after - before for name, before, after in zip(STAGES, marks, marks[1:], strict=False)}
        return {**ends, **steps, "render": time.perf_counter() - rendering}

    go()
    return go
