"""The effect of each ONNX operator on the way from the image; see :mod:`fmedge.runtime.gate.relu_count`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from fmedge.runtime.gate.relu_count import Way, joined
from fmedge.runtime.gate.shapes import Value

_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose", "QLinearConv"))
"""Operators that a ReLU can follow as part of the same layer."""

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
"""Operators that turn no value negative. Mul and Div use scales here, which are positive."""

_ZERO_POINTS: Mapping[str, int] = {"QuantizeLinear": 2, "QLinearConv": 7}
"""Operators that give 8-bit codes, and the position of their zero point among the inputs."""

_MAX = 3e38
"""An upper bound from here on limits no float."""

_Constants = Mapping[str, Value]


def onnx_way(
    operator: str, inputs: Sequence[str], ways: Mapping[str, Way], constants: _Constants, lowest: AbstractSet[str]
) -> Way | None:
    """Return the way from the image to an operator's outputs.

    Args:
        operator: Its name.
        inputs: Names of its inputs; empty for those that are left out.
        ways: The way to every value so far.
        constants: The constants in the file; the values of small ones are known.
        lowest: Names of 8-bit constants that contain only the lowest number of their type.

    Returns:
        The way; None where the operator reads only constants.
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
        if not zero_point or zero_point in lowest:  # if left out it is 0, and codes are uint8
            way = way.clamped()
    return way


def _rectifies(operator: str, inputs: Sequence[str], constants: _Constants) -> bool:
    """Return whether an operator is a ReLU: by name, or as a lower bound of 0 with no upper bound."""
    known = [constants[name].known if name in constants else None for name in inputs]
    if operator == "Clip":
        least, most = (*known[1:], None, None)[:2]
        bounded = len(inputs) > 2 and bool(inputs[2])
        return least == (0,) and (not bounded or (most is not None and most >= (_MAX,)))
    if operator == "Max":
        return any(values and not any(values) for values in known)
    return operator == "Relu"
