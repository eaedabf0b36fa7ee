"""What an ONNX operator does to the way from the image; see :mod:`fmedge.runtime.gate.relu_count`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from fmedge.runtime.gate.relu_count import Way, joined
from fmedge.runtime.gate.shapes import Value

_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose", "QLinearConv"))
"""Operators that a ReLU can follow as a part of a layer."""

_KEEPING = frozenset(
    (
        *(
            "Identity",
            "Cast",
            "QuantizeLinear",
            "DequantizeLinear",
            "Mul",
            "Div",
            "Pad",
            "Tile",
            "Concat",
            "Split",
            "Slice",
        ),
        *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather", "DepthToSpace", "SpaceToDepth"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    )
)
"""Operators that make nothing negative out of what is not. Mul and Div do it by scales, which are positive."""

_ZERO_POINTS: Mapping[str, int] = {"QuantizeLinear": 2, "QLinearConv": 7}
"""Operators that give 8-bit codes, and which input is their zero point."""

_MAX = 3e38
"""A bound above this one bounds no float."""

_Constants = Mapping[str, Value]


def onnx_way(
    operator: str, inputs: Sequence[str], ways: Mapping[str, Way], constants: _Constants, lowest: AbstractSet[str]
) -> Way | None:
    """What happens on the way to an operator's outputs.

    Args:
        operator: Its name.
        inputs: Names of what it reads; empty for what is left out.
        ways: The way to every value so far.
        constants: What stands in the file; values of small ones are known.
        lowest: Names of 8-bit constants that hold nothing but the lowest number of their type.

    Returns:
        None where it reads constants alone.
    """
    way = joined([ways[name] for name in inputs if name in ways])
    if way is None:
        return None
    if operator in _CONVOLUTIONS:
        way = way.convolved()
    elif _rectifies(operator, inputs, constants):
        way = way.relu()
    elif operator not in _KEEPING:
        way = way.other()
    position = _ZERO_POINTS.get(operator)
    if position is not None:
        zero_point = inputs[position] if position < len(inputs) else ""
        if not zero_point or zero_point in lowest:  # left out it is 0, and codes are uint8
            way = way.clamped()
    return way


def _rectifies(operator: str, inputs: Sequence[str], constants: _Constants) -> bool:
    """Whether an operator is a ReLU: by name, or as a bound of 0 below and none above."""
    known = [constants[name].known if name in constants else None for name in inputs]
    if operator == "Clip":
        least, most = (*known[1:], None, None)[:2]
        bounded = len(inputs) > 2 and bool(inputs[2])
        return least == (0,) and (not bounded or (most is not None and most >= (_MAX,)))
    if operator == "Max":
        return any(values and not any(values) for values in known)
    return operator == "Relu"
