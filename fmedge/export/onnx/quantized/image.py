"""Let the first convolution read the image's own 8 bits: the preprocessing moves into its weights.

Nothing before that convolution is quantized: the luma of an image for grey networks is computed in float. Usual recipes
quantize the prepared image, whose values seldom fall on the codes' steps, so that each pixel is rounded a
second time. Preprocessing that is affine, as nearly all is, can be computed by the convolution instead. What is added
to the pixels is carried by a constant channel, so that a border of zeros still means zero after preprocessing.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from fmedge.export.onnx.quantized.graphs import (
    Array,
    Floats,
    constants_of,
    copied,
    output_names,
    readers_of,
    run_all,
    set_constants,
    setting,
    tidy,
)

CODES = "image_codes"
"""Name of the tensor of codes as floats, 0 to 255."""

_CONSTANT = 255
"""Value of the constant channel: the largest code, so that its weights are smallest."""

_FRONT = (
    *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Slice", "Split", "Concat", "Cast", "Identity"),
    *("Add", "Sub", "Mul", "Div", "Floor", "ReduceSum", "BatchNormalization"),
)
"""Operators that preprocessing consists of."""

_PIXELS = 4096
"""Number of pixels from which the affine map is found; it has four unknowns per channel."""

_TOLERANCE = 1e-4
"""Largest deviation from an affine map, relative to the range of the prepared image: float32 gives 1e-6."""

_NEGLIGIBLE = 1e-6
"""Relative size of a coefficient that is rounding noise."""


class _Codes(NamedTuple):
    """Where the image's 8 bits are, and how the prepared image follows from them.

    Attributes:
        tensor: Name of the tensor that holds them.
        dtype: Its element type.
        layout: Its layout.
        factors: (channels before, channels after): the linear part.
        offset: (channels after,): what is added.
    """

    tensor: str
    dtype: np.dtype[np.generic]
    layout: str
    factors: Floats
    offset: Floats


def with_image_codes(model: ModelProto) -> ModelProto:
    """Return a float model whose first convolutions read :data:`CODES`; the model itself if that is not possible.

    Args:
        model: From :func:`fmedge.export.onnx.quantized.graphs.simplified`.
    """
    copy = copied(model)
    constants = constants_of(copy)
    front = _front(copy, constants)
    known = {name for node in front for name in node.output}
    first = [node for node in copy.graph.node if node.op_type == "Conv" and node.input[0] in known]
    if len({node.input[0] for node in first}) != 1:
        return model
    pixels = first[0].input[0]
    readers = readers_of(copy)[pixels]
    if pixels in output_names(copy) or any(
        node.op_type != "Conv" or setting(node, "group", 1) != 1 or node.input[1] not in constants for node in readers
    ):
        return model
    codes = _find_codes(copy, front, pixels)
    if codes is None:
        return model
    _read_codes(copy, readers, constants, codes)
    tidy(copy)
    return copy


def _front(model: ModelProto, constants: dict[str, Array]) -> list[NodeProto]:
    """Return the operators before the first convolution, as far as they may be preprocessing."""
    known, front = {model.graph.input[0].name}, list[NodeProto]()
    for node in model.graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        if node.op_type in _FRONT and inputs and known.issuperset(inputs):
            known.update(node.output)
            front.append(node)
    return front


def _find_codes(model: ModelProto, front: list[NodeProto], pixels: str) -> _Codes | None:
    """Find the first tensor of whole numbers from 0 to 255 that the prepared image follows from by an affine map."""
    image = model.graph.input[0]
    extents = [axis.dim_value for axis in image.type.tensor_type.shape.dim]
    shape = (extents[0] or 1, extents[1] or 64, extents[2] or 64, 3)
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, np.uint8)
    names = [name for node in front for name in node.output]
    (values,) = run_all(model, names, [noise])
    if image.type.tensor_type.elem_type != TensorProto.UINT8:
        noise = noise.astype(np.float32)
    values = {image.name: noise, **values}
    prepared = values[pixels]
    if prepared.ndim != 4:
        return None
    for name, value in values.items():
        if value.ndim != 4 or not _is_codes(value):
            continue
        for layout, order in (("NCHW", (0, 1, 2, 3)), ("NHWC", (0, 3, 1, 2))):
            planes = value.transpose(order)
            if planes.shape[2:] == prepared.shape[2:] and (map_ := _affine(planes[0], prepared[0])) is not None:
                return _Codes(name, value.dtype, layout, *map_)
    return None


def _is_codes(value: Array) -> bool:
    return bool(np.all(value == np.rint(value)) and value.min() >= 0 and value.max() <= 255)


def _affine(before: Array, after: Array) -> tuple[Floats, Floats] | None:
    """Return factors and offset of the affine map between two images, (C, H, W); None if there is none."""
    rows = before.reshape(len(before), -1)[:, :_PIXELS].T.astype(np.float64)
    wanted = after.reshape(len(after), -1)[:, :_PIXELS].T.astype(np.float64)
    rows = np.pad(rows, ((0, 0), (0, 1)), constant_values=1)
    solution = np.asarray(np.linalg.lstsq(rows, wanted, rcond=None)[0], np.float64)
    if np.abs(rows @ solution - wanted).max() > _TOLERANCE * np.ptp(wanted):
        return None
    solution[np.abs(solution) < _NEGLIGIBLE * np.abs(solution).max()] = 0
    return solution[:-1], np.asarray(solution[-1], np.float64)


def _read_codes(model: ModelProto, readers: list[NodeProto], constants: dict[str, Array], codes: _Codes) -> None:
    nodes, tensor, made = list[NodeProto](), codes.tensor, dict[str, Array]()

    def add(kind: str, *inputs: str, output: str, **settings: Any) -> str:  # noqa: ANN401 - as ONNX takes them
        nodes.append(helper.make_node(kind, list(inputs), [output], output, **settings))
        return output

    if codes.layout == "NHWC":
        tensor = add("Transpose", tensor, output=f"{CODES}_planes", perm=[0, 3, 1, 2])
    if codes.offset.any():
        made[f"{CODES}_pads"] = np.array([0, 0, 0, 0, 0, 1, 0, 0], np.int64)
        made[f"{CODES}_constant"] = np.array(_CONSTANT, codes.dtype)
        tensor = add("Pad", tensor, *made, output=f"{CODES}_with_constant")
    if codes.dtype == np.uint8:  # the quantizer takes floats; behind it the Cast is removed again
        add("Cast", tensor, output=CODES, to=TensorProto.FLOAT)
    else:
        add("Identity", tensor, output=CODES)
    for node in readers:
        weights = constants[node.input[1]].astype(np.float64)
        folded = np.einsum("ochw,ic->oihw", weights, codes.factors)
        if codes.offset.any():
            constant = np.einsum("ochw,c->ohw", weights, codes.offset) / _CONSTANT
            folded = np.concatenate([folded, constant[:, np.newaxis]], axis=1)
        made[node.input[1]] = folded.astype(np.float32)
        node.input[0] = CODES
    model.graph.node.extend(nodes)
    set_constants(model, made)
