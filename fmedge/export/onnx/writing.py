"""What every writer of float ONNX does around its graph: the card's tools and recipe, float16, and the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import onnx

from fmedge.export.built import Built
from fmedge.export.onnx.file import finish
from fmedge.export.onnx.float16 import RECIPE, to_float16
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Precision


def written(
    card: ModelCard, float_model: Callable[[ModelCard], onnx.ModelProto], tools: Mapping[str, str] | None = None
) -> Built:
    """Write the model that a card describes, in float32 or float16.

    Args:
        card: The model; only its facts are used.
        float_model: Builds it in float32, not yet checked and without the card's facts.
        tools: Versions of the tools, other than onnx, that it builds with.

    Returns:
        The file's content and the finished card.

    Raises:
        ParityError: With fp16: a weight is too large.
    """
    half = card.precision is Precision.FP16
    known = {**card.tools, "onnx": onnx.__version__, **(tools or {})}
    card = replace(card, tools=known, recipe=RECIPE if half else {})
    model = float_model(card)
    if half:
        to_float16(model)
    return Built(finish(model, card), card)
