"""What the operators of a cut ONNX graph say: their constants, settings and borders."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, helper, numpy_helper

from fmedge.errors import UsageError
from fmedge.export.onnx_source.names import layer_names

Values = npt.NDArray[np.float64]

Border = tuple[int, int, int, int]
"""Zeros above, on the left, below and on the right."""

NO_BORDER: Border = (0, 0, 0, 0)

AXES = 4
"""Axes of an image."""


def misfit(text: str, hint: str = "Use --format onnx, or cut before it.") -> UsageError:
    """Return the error for a network that is not what the kernels compute."""
    return UsageError(f"Cannot write native: {text}.", hint=hint)


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An operator of a graph.

    Attributes:
        node: The operator itself.
        name: The layer's name, for messages.
        settings: Its attributes.
        constants: Values of its inputs that are constants, by their place.
    """

    node: NodeProto
    name: str
    settings: Mapping[str, Any]
    constants: Mapping[int, npt.NDArray[np.generic]]

    @property
    def kind(self) -> str:
        """ONNX' name for what it computes."""
        return self.node.op_type

    @property
    def reads(self) -> list[str]:
        """Its inputs that are no constants."""
        return [name for place, name in enumerate(self.node.input) if name and place not in self.constants]

    def odd(self) -> UsageError:
        """Return the error for what the kernels do not have."""
        return misfit(f"'{self.name}' is {self.kind}; native takes 3 x 3 convolutions, ReLU and 2 x 2 maximum pooling")

    def integers(self, place: int) -> list[int] | None:
        """Return the integers of a constant input; None where there is none."""
        return [int(each) for each in self.constants[place].reshape(-1)] if place in self.constants else None


def operators_of(graph: GraphProto) -> list[Operator]:
    """Return the operators of a graph that depend on the image, in order."""
    known = {name for node in graph.node for name in (node.name, *node.output)}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = list[Operator]()
    for node, names in zip(graph.node, layer_names(graph.node), strict=True):
        settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        values = {place: constants[name] for place, name in enumerate(node.input) if name in constants}
        operator = Operator(node, _layer_name(node, names.shown, known), settings, values)
        if operator.reads:
            found.append(operator)
        elif node.op_type == "Identity":  # weights that several layers share
            constants[node.output[0]] = values[0]
        elif node.op_type == "Constant" and "value" in settings:
            constants[node.output[0]] = numpy_helper.to_array(settings["value"])
        elif node.op_type == "Transpose":
            constants[node.output[0]] = np.transpose(values[0], settings.get("perm"))
        else:
            raise operator.odd()
    return found


def _layer_name(node: NodeProto, name: str, known: Collection[str]) -> str:
    """Return the name that a user knows: writers append the operator to it, or ``_`` where it is taken."""
    bases = (name.removesuffix(f"_{node.op_type.lower()}"), name.rstrip("_"))
    return next((base for base in bases if base != name and base in known), name)


def affine_of(operator: Operator, layout: str, channels: int) -> tuple[Values, Values] | None:
    """Return factor and summand of each channel of what an operator computes; None if it is no such operator."""
    if operator.kind == "BatchNormalization":
        if (
            layout != "NCHW"
            or operator.settings.get("training_mode")
            or len(operator.constants) != len(operator.node.input) - 1
        ):
            return None
        parts = [operator.constants[place].astype(np.float64) for place in range(1, 5)]
        if any(part.shape != (channels,) for part in parts):
            return None
        scale, shift, mean, variance = parts
        factors = scale / np.sqrt(variance + operator.settings.get("epsilon", 1e-5))
        return factors, shift - mean * factors
    if operator.kind not in ("Add", "Sub", "Mul", "Div") or len(operator.constants) != 1:
        return None
    ((place, constant),) = operator.constants.items()
    values = _per_channel(constant, layout, channels)
    ones, zeros = np.ones(channels), np.zeros(channels)
    if values is None or (operator.kind == "Div" and (place == 0 or not values.all())):
        return None
    if operator.kind == "Mul":
        return values, zeros
    if operator.kind == "Div":
        return 1 / values, zeros
    if operator.kind == "Add":
        return ones, values
    return (ones, -values) if place == 1 else (-ones, values)


def _per_channel(constant: npt.NDArray[np.generic], layout: str, channels: int) -> Values | None:
    """Return a constant as one number per channel; None where it differs from place to place."""
    if constant.ndim > AXES or constant.dtype.kind != "f":
        return None
    shape = (1,) * (AXES - constant.ndim) + constant.shape
    if any(extent != 1 for axis, extent in zip(layout, shape, strict=True) if axis != "C"):
        return None
    if constant.size not in (1, channels):
        return None
    return np.broadcast_to(constant.reshape(-1).astype(np.float64), channels)


def border_of(operator: Operator, layout: str) -> Border | None:
    """Return the zeros that a Pad adds; None where it adds something else, or elsewhere."""
    pads, fill = operator.integers(1), operator.constants.get(2)
    axes = operator.integers(3) if len(operator.node.input) > 3 else list(range(len(layout)))
    if operator.settings.get("mode", b"constant") != b"constant" or (fill is not None and fill.any()):
        return None
    if pads is None or axes is None or len(pads) != 2 * len(axes):
        return None
    named = [layout[axis] for axis in axes]
    before = dict(zip(named, pads[: len(axes)], strict=True))
    after = dict(zip(named, pads[len(axes) :], strict=True))
    if any(pad < 0 for pad in pads) or any(each.get(axis) for each in (before, after) for axis in "NC"):
        return None
    return before.get("H", 0), before.get("W", 0), after.get("H", 0), after.get("W", 0)


def layout_after(operator: Operator, layout: str) -> str | None:
    """Return the order of axes after a Transpose; None if it mixes rows and columns."""
    order: Sequence[int] = operator.settings.get("perm", range(len(layout))[::-1])
    found = "".join(layout[axis] for axis in order)
    return found if found in ("NCHW", "NHWC") else None


def require_convolution(operator: Operator, border: Border) -> None:
    """Check that a convolution is one of the kernels', with the zeros that an earlier operator puts around its input.

    Raises:
        UsageError: It is not.
    """
    name, kernel = operator.name, operator.constants.get(1)
    if kernel is None:
        raise operator.odd()
    for extents in (kernel.shape[2:], operator.settings.get("kernel_shape", (3, 3))):
        if tuple(extents) != (3, 3):
            raise misfit(f"'{name}' is a {_extents(extents)} convolution; native takes 3 x 3")
    for setting, words in (("strides", "stride"), ("dilations", "dilation")):
        if any(each != 1 for each in operator.settings.get(setting, ())):
            raise misfit(f"'{name}' has {words} {_steps(operator.settings[setting])}; native takes {words} 1")
    if (groups := operator.settings.get("group", 1)) != 1:
        raise misfit(f"'{name}' convolves {groups} groups of channels apart; native takes all together")
    own = _own_pads(operator)
    top, left, bottom, right = (mine + before for mine, before in zip(own, border, strict=True))
    total = (top, left, bottom, right)
    if not any(total):
        raise misfit(f"'{name}' has no border of zeros ('valid'); native takes one on each side ('same')")
    if total != (1, 1, 1, 1):
        raise misfit(f"'{name}' has a border of {_sides(total)} zeros; native takes one on each side ('same')")


def _own_pads(operator: Operator) -> Border:
    auto = operator.settings.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        return 1, 1, 1, 1
    top, left, bottom, right = operator.settings.get("pads", NO_BORDER) if auto == b"NOTSET" else NO_BORDER
    return top, left, bottom, right


def require_pooling(operator: Operator, border: Border, size: tuple[int | None, int | None]) -> None:
    """Check that a maximum pooling of values of a size is the kernels'.

    Raises:
        UsageError: It is not.
    """
    window = operator.settings.get("kernel_shape", ())
    strides = operator.settings.get("strides", (1, 1))
    dilated = any(each != 1 for each in operator.settings.get("dilations", ()))
    if list(window) != [2, 2] or list(strides) != [2, 2] or dilated:
        raise misfit(
            f"'{operator.name}' pools {_extents(window)} with stride {_steps(strides)}; native takes 2 x 2 with 2"
        )
    auto = operator.settings.get("auto_pad", b"NOTSET")
    pads = any(operator.settings.get("pads", ())) and auto == b"NOTSET"
    rounds_up = auto in (b"SAME_UPPER", b"SAME_LOWER") or operator.settings.get("ceil_mode")
    even = all(extent is not None and extent % 2 == 0 for extent in size)
    if any(border) or pads or (rounds_up and not even):
        raise misfit(f"'{operator.name}' pools beyond the last row or column; native leaves an odd one out ('valid')")


def _extents(extents: Sequence[int]) -> str:
    return " x ".join(map(str, extents))


def _steps(steps: Sequence[int]) -> str:
    return str(steps[0]) if len({*steps}) == 1 else _extents(steps)


def _sides(border: Border) -> str:
    return str(border[0]) if len({*border}) == 1 else "/".join(map(str, border))
