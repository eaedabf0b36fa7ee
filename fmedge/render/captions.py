"""Write the texts of a page: title, note and facts, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmedge.data.feature_maps import FeatureMaps, Provenance
from fmedge.data.page_options import PageOptions
from fmedge.model.activations import LINEAR, RELU, require_both, spoken, view_words
from fmedge.render.encoding import VALUES_NOTES

VIEW_WORDS = {**view_words(RELU), "error": "B \u2212 A", "a": "A", "b": "B"}
"""The views of a page: the first two of feature maps, the others of a difference. Layers with an activation other than
ReLU have their own words for the first two."""

TIMES = " \u00d7 "

SQUASHED = 0.02
"""From this change of its proportions on a photo is called squashed; less is not seen."""

UNTRAINED_NOTE = "untrained weights: random, not learned"


@dataclass(frozen=True, slots=True)
class Captions:
    """Texts of a page. All except the labels may hold names from outside: escape them.

    Attributes:
        title: What is shown.
        subtitle: Of which image, and with which weights.
        note: A visible warning; empty when there is none.
        image: The image's name.
        facts: Labels and texts, in order.
    """

    title: str
    subtitle: str
    note: str
    image: str
    facts: tuple[tuple[str, str], ...]


def views_of(layers: Sequence[FeatureMaps], options: PageOptions) -> tuple[str, ...]:
    """Return the views of the feature maps of some layers, the one that is shown first in front.

    Where no layer has an activation there is only one view.

    Raises:
        UsageError: Both views are requested for a layer whose activation a page cannot compute, or for values after
            ReLU.
    """
    if options.both:
        for maps in layers:
            require_both(maps.layer, maps.function, before=maps.activation == "none")
        if any(maps.function == RELU for maps in layers):
            return ("relu", "raw")
    return ("relu",) if layers[0].activation == "relu" else ("raw",)


def write_captions(layers: list[FeatureMaps], channel: int | None, options: PageOptions) -> Captions:
    """Write the texts for some layers of one or several photos, or for one channel (which must exist)."""
    first = layers[0]
    made = first.provenance
    taps = list(dict.fromkeys(maps.layer for maps in layers))
    names = first.layer if len(taps) == 1 else f"{len(taps)} layers, {first.layer} to {layers[-1].layer}"
    images = list({maps.provenance.image_name: _image(maps) for maps in layers}.items())
    shown = names if channel is None else f"{names} - channel {channel}"
    return Captions(
        title=f"{shown}, {_views_in_words(layers, options)}",
        subtitle=f"{', '.join(name for name, _ in images)}; {made.card.describe_weights()}"
        if len(images) > 1
        else f"{made.image_name}, {made.card.describe_weights()}",
        note=UNTRAINED_NOTE if made.card.weights.kind == "untrained" else "",
        image=made.image_name,
        facts=(
            ("Computed by", _computed_by(made)),
            *((("Placement", made.placement),) if made.placement else ()),
            *(("Image" if len(images) == 1 else f"Image {name}", words) for name, words in images),
            ("Stored as", VALUES_NOTES[options.values]),
        ),
    )


def _views_in_words(layers: list[FeatureMaps], options: PageOptions) -> str:
    """Return the views in words, per layer if they differ: ``before and after ReLU``, ``no activation``."""
    views = reversed(views_of(layers, options))
    sides = " and ".join(view_words(RELU)[view].removesuffix(" ReLU") for view in views)
    functions = dict.fromkeys(maps.function for maps in layers)
    return ", ".join(
        view_words(LINEAR)["raw"] if function == LINEAR else f"{sides} {spoken(function)}" for function in functions
    )


def write_difference_captions(
    first: FeatureMaps, second: FeatureMaps, count: int, photos: int, options: PageOptions
) -> Captions:
    """Write the texts for the difference between two runs of one photo, each with ``count`` layers.

    Args:
        first: Maps of A.
        second: Maps of B.
        count: Number of layers on the page.
        photos: Over how many photos the errors of the channels are; the first of them is shown.
        options: How the page is made.
    """
    names = first.layer if count == 1 else f"{count} layers"
    made, other = first.provenance, second.provenance
    untrained = "untrained" in {made.card.weights.kind, other.card.weights.kind}
    return Captions(
        title=f"{names}, B against A",
        subtitle=f"{made.image_name}; A: {_side(made)}; B: {_side(other)}",
        note=UNTRAINED_NOTE if untrained else "",
        image=made.image_name,
        facts=(
            ("A, the reference", f"{_computed_by(made)}; {made.card.describe_weights()}"),
            ("B", f"{_computed_by(other)}; {other.card.describe_weights()}"),
            ("Image", _image(first)),
            *((("Figures of channels", f"over {photos} photos; maps are of the first"),) if photos > 1 else ()),
            ("Stored as", f"{VALUES_NOTES[options.values]}; B is A plus the error"),
        ),
    )


def _side(made: Provenance) -> str:
    return f"{made.card.format} {made.card.precision} on {made.backend}"


def _computed_by(made: Provenance) -> str:
    threads = "1 thread" if made.threads == 1 else f"{made.threads} threads"
    arithmetic = "" if made.math == "fp32" else f", {made.math} arithmetic"
    return f"{made.backend}, {made.active_provider}, {threads}, {made.card.precision}{arithmetic}"


def _image(maps: FeatureMaps) -> str:
    made = maps.provenance
    seen = maps.pixels.shape[1:3]
    (tall, wide), (high, broad) = made.image_size, seen
    squashed = abs(tall * broad - high * wide) > SQUASHED * high * wide
    return f"{_size(made.image_size)}, {'squashed' if squashed else 'resized'} to {_size(seen)} ({made.resize})"


def _size(extents: tuple[int, ...]) -> str:
    return TIMES.join(str(extent) for extent in extents)
