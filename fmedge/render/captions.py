"""What a page says in words: title, note and facts, as plain text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fmedge.feature_maps import FeatureMaps, FloatArray
from fmedge.render.encoding import PRECISION_NOTE

ACTIVATION_WORDS = {"relu": "after ReLU", "none": "before ReLU"}

MINUS = "\u2212"
TIMES = " \u00d7 "

UNTRAINED_NOTE = "untrained weights: random, not learned"


@dataclass(frozen=True, slots=True)
class Captions:
    """Texts of a page; all but the labels may hold names from outside, so escape them.

    Attributes:
        title: What is shown.
        subtitle: Of which image, by which weights.
        note: A warning in plain sight; empty when there is none.
        image: The image's name.
        plot: What the plot shows, for those who cannot see it.
        facts: Labels and texts, in order.
    """

    title: str
    subtitle: str
    note: str
    image: str
    plot: str
    facts: tuple[tuple[str, str], ...]


def write_captions(maps: FeatureMaps, channel: int | None) -> Captions:
    """Compose the texts for the overview, or for one channel (which must exist)."""
    made = maps.provenance
    activation = ACTIVATION_WORDS[maps.activation]
    channels, rows, columns = maps.maps.shape[1:]
    if channel is None:
        title = f"{maps.layer}, {activation}"
        plot = f"{channels} feature maps of {maps.layer} in a grid, numbered from 0, row by row"
    else:
        title = f"{maps.layer} - channel {channel}, {activation}"
        plot = f"Feature map of channel {channel} of {maps.layer}, {rows} rows by {columns} columns"
    return Captions(
        title=title,
        subtitle=f"{made.image_name}, {made.card.weights.describe()}",
        note=UNTRAINED_NOTE if made.card.weights.kind == "untrained" else "",
        image=made.image_name,
        plot=plot,
        facts=(*_value_facts(maps, channel), *_origin_facts(maps)),
    )


def _value_facts(maps: FeatureMaps, channel: int | None) -> tuple[tuple[str, str], ...]:
    channels, rows, columns = maps.maps.shape[1:]
    if channel is None:
        return (
            ("Shape", f"{_size((channels, rows, columns))} (channels{TIMES}rows{TIMES}columns)"),
            ("Values", f"{_span(maps.maps[0])}; each map is scaled from its own minimum to its own maximum"),
            ("Stored as", PRECISION_NOTE),
        )
    values = maps.maps[0, channel]
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    return (
        ("Shape", f"{_size((rows, columns))} (rows{TIMES}columns), one of {channels} channels"),
        ("Values", _span(values)),
        ("Mean", f"{_number(mean)}, standard deviation {_number(deviation)}"),
        ("Zeros", f"{np.mean(values == 0):.1%}"),
        ("Stored as", PRECISION_NOTE),
    )


def _origin_facts(maps: FeatureMaps) -> tuple[tuple[str, str], ...]:
    made = maps.provenance
    threads = "1 thread" if made.threads == 1 else f"{made.threads} threads"
    arithmetic = "" if made.math == "fp32" else f", {made.math} arithmetic"
    return (
        ("Computed by", f"{made.backend}, {made.active_provider}, {threads}, {made.card.precision}{arithmetic}"),
        *((("Placement", made.placement),) if made.placement else ()),
        ("Image", f"{_size(made.image_size)}, resized to {_size(maps.pixels.shape[1:3])} ({made.resize})"),
    )


def _size(extents: tuple[int, ...]) -> str:
    return TIMES.join(str(extent) for extent in extents)


def _span(values: FloatArray) -> str:
    return f"{_number(values.min())} to {_number(values.max())}"


def _number(value: np.floating) -> str:
    return f"{float(value):.6g}".replace("-", MINUS)
