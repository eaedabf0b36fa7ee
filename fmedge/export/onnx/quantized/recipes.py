"""Try a few recipes on some of the photos, and make the model by the best one from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from onnx import ModelProto

from fmedge.export.int8.plan import EIGHT_BIT, SEVEN_BIT
from fmedge.export.onnx.quantized.channels import (
    Channels,
    Scaled,
    find_channels,
    is_convolution,
    scale_channels,
    without_bounds,
)
from fmedge.export.onnx.quantized.graphs import Array, constants_of, output_names, run_all, simplified
from fmedge.export.onnx.quantized.image import CODES, with_image_codes
from fmedge.export.onnx.quantized.quantizer import quantized
from fmedge.export.onnx.quantized.statistics import (
    Photos,
    Range,
    best_range,
    measure_inputs,
    measure_values,
)
from fmedge.export.onnx.quantized.steps import choose_factors
from fmedge.export.onnx.quantized.weights import round_weights
from fmedge.model.parity import GATES, measure_parity
from fmedge.system.progress import Progress, no_progress

_JUDGES = 4
"""One photo of so many judges the recipes that are tried on the others."""

_SLACKS = (0.05, np.inf)
"""How far an activation's range may be from the least squared error; the last one takes the range of all values."""


class Recipe(NamedTuple):
    """A way to choose numbers.

    Attributes:
        words: What it is called in the card.
        candidate: Index in :data:`_SLACKS`; None for onnxruntime's own recipe.
        feedback: Whether weights are rounded with feedback.
    """

    words: str
    candidate: int | None
    feedback: bool = True


PLAIN = Recipe("onnxruntime's own: ranges of all values, weights rounded to nearest", None)

RECIPES = (
    PLAIN,
    Recipe("ranges of the least squared error, weights rounded with feedback (GPTQ)", 0),
    Recipe("ranges of the least squared error, weights rounded to nearest", 0, feedback=False),
    Recipe("ranges of all values, weights rounded with feedback (GPTQ)", 1),
    Recipe("ranges of all values, weights rounded to nearest", 1, feedback=False),
)
"""All recipes; of equally good ones the first is taken. All but the first keep the image's own 8 bits, scale channels
and correct biases."""


class Made(NamedTuple):
    """A quantized model.

    Attributes:
        model: The model.
        recipe: How it was made.
    """

    model: ModelProto
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the photos.

    Attributes:
        every: All photos.
        chosen: Tells by its number whether a photo is one of them.
        count: How many they are.
    """

    every: Photos
    chosen: Callable[[int], bool]
    count: int

    def __iter__(self) -> Iterator[Array]:
        """Yield one image at a time."""
        return (image for number, image in enumerate(self.every) if self.chosen(number))

    def __len__(self) -> int:
        """Return their number."""
        return self.count


def best_model(model: ModelProto, photos: Photos, *, seven_bit: bool, progress: Progress = no_progress) -> Made:
    """Quantize a float model by the recipe that is best for it.

    The recipes are tried on three of four photos and judged on the others, by the tap that gains least compared with
    :data:`PLAIN`.

    Args:
        model: The float model, (N, H, W, 3) to taps.
        photos: The photos; at least two.
        seven_bit: Whether weights have 7 bits.
        progress: Called after each stage.

    Raises:
        UsageError: ONNX Runtime cannot run the model.
    """
    total = len(photos)
    judges = -(-total // _JUDGES)
    learned = Part(photos, lambda number: number % _JUDGES != 0, total - judges)
    judging = Part(photos, lambda number: number % _JUDGES == 0, judges)
    plain = simplified(model)
    taps = output_names(model)
    true = list(run_all(plain, taps, judging))
    tried = list(_made(plain, learned, RECIPES, seven_bit=seven_bit))
    progress(f"calibration: {len(RECIPES)} recipes made from {learned.count} photos", 0.4)
    scores = [_scores(each.model, true, judging) for each in tried]
    gains = [float((score - scores[0]).min()) for score in scores]
    progress(f"calibration: recipes compared on {judges} photos", 0.6)
    chosen = RECIPES[int(np.argmax(gains))]
    (made,) = _made(plain, photos, (chosen,), seven_bit=seven_bit)
    progress(f"calibration done: {total} photos", 1.0)
    return made


def _scores(model: ModelProto, true: Sequence[dict[str, Array]], photos: Photos) -> Array:
    """Return the signal-to-noise ratio of each tap in dB, averaged over the photos."""
    gate = GATES["fp32"]
    taps = output_names(model)
    rows = [
        [measure_parity(found[tap], expected[tap], gate).snr_db for tap in taps]
        for found, expected in zip(run_all(model, taps, photos), true, strict=True)
    ]
    return np.clip(rows, -gate.min_snr_db, gate.min_snr_db).mean(axis=0)  # a photo may leave a tap without a signal


def _made(plain: ModelProto, photos: Photos, recipes: Sequence[Recipe], *, seven_bit: bool) -> Iterator[Made]:
    """Quantize a simplified float model by recipes."""
    if PLAIN in recipes:
        extremes = measure_values(plain, {}, photos, histograms=False)
        ranges = {name: best_range(values, np.inf) for name, values in extremes.items()}
        yield Made(quantized(plain, ranges, {}, {}, seven_bit=seven_bit), PLAIN)
    if recipes == (PLAIN,):
        return
    image = with_image_codes(plain)
    channels = find_channels(image)
    scaled = scale_channels(image, channels, choose_factors(image, channels, photos, len(photos)))
    values = measure_values(scaled.model, scaled.bounds, photos)
    every = [
        _settled({name: best_range(each, slack) for name, each in values.items()}, scaled, channels)
        for slack in _SLACKS
    ]
    constants = constants_of(scaled.model)
    convolutions = [
        node for node in scaled.model.graph.node if node.op_type == "Conv" and is_convolution(node, constants)
    ]
    inputs = measure_inputs(scaled.model, convolutions, every, photos)
    bare = without_bounds(scaled.model)
    limit = SEVEN_BIT if seven_bit else EIGHT_BIT
    for recipe in recipes:
        if recipe.candidate is None:
            continue
        rounded = round_weights(bare, convolutions, inputs, limit, candidate=recipe.candidate, feedback=recipe.feedback)
        ranges = every[recipe.candidate]
        yield Made(quantized(rounded.model, ranges, rounded.steps, scaled.factors, seven_bit=seven_bit), recipe)


def _settled(ranges: dict[str, Range], scaled: Scaled, channels: Channels) -> dict[str, Range]:
    """Return ranges with those that are known; what one Concat joins gets one range, so that no code changes there."""
    found = {name: (low, min(high, scaled.bounds.get(name, np.inf))) for name, (low, high) in ranges.items()}
    for node in scaled.model.graph.node:
        if node.op_type == "Concat" and channels.is_free(node.output[0]):
            joined = [found[name] for name in node.input]
            if len({low < 0 for low, _ in joined}) > 1:  # the lowest code stands for a ReLU
                continue
            limits = (min(low for low, _ in joined), max(high for _, high in joined))
            found |= dict.fromkeys((*node.input, *node.output), limits)
    return found | ({CODES: (0.0, 255.0)} if CODES in found else {})
