"""Compute ONNX operators in float64: onnx's reference evaluator, with convolutions and maxima that are fast enough."""
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportIncompatibleMethodOverride=false
# pyright: reportUntypedBaseClass=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv import Conv as OnnxConv
from onnx.reference.ops.op_max_pool import MaxPool as OnnxMaxPool

Floats = npt.NDArray[np.float64]

EVALUATOR_ERRORS = (ValueError, TypeError, RuntimeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""What onnx's evaluator, and NumPy below it, raise for operators that do not fit their inputs. Neither a lack of memory
nor an interrupt is among them."""

_PLANE = 4
"""Axes of images: (N, C, H, W)."""


class Conv(OnnxConv):
    """Conv for images, one matrix product per place of the kernel; onnx's own takes seconds for a layer."""

    def _run(
        self,
        x: Floats,
        w: Floats,
        b: Floats | None = None,
        group: int | None = None,
        **settings: Any,  # noqa: ANN401 - the attributes of the operator
    ) -> tuple[Floats]:
        if x.ndim != _PLANE:
            return super()._run(x, w, b, group=group, **settings)
        height, width = (int(extent) for extent in w.shape[2:])
        steps, gaps, groups = _pair(settings.get("strides")), _pair(settings.get("dilations")), group or 1
        spans = ((height - 1) * gaps[0] + 1, (width - 1) * gaps[1] + 1)
        padded: Floats = np.pad(x, ((0, 0), (0, 0), *_edges(x.shape[2:], spans, steps, settings)))
        rows, columns = (
            (extent - span) // step + 1 for extent, span, step in zip(padded.shape[2:], spans, steps, strict=True)
        )
        count, channels, filters = x.shape[0], x.shape[1] // groups, w.shape[0]
        kernel = w.reshape(groups, filters // groups, channels, height, width)
        result = np.zeros((count, groups, filters // groups, rows * columns))
        for row, column in np.ndindex(height, width):
            top, left = row * gaps[0], column * gaps[1]
            seen = padded[..., top : top + steps[0] * rows : steps[0], left : left + steps[1] * columns : steps[1]]
            result += kernel[..., row, column] @ seen.reshape(count, groups, channels, rows * columns)
        result = result.reshape(count, filters, rows, columns)
        return (result if b is None else result + b.reshape(1, -1, 1, 1),)


class MaxPool(OnnxMaxPool):
    """MaxPool for images; onnx's own visits every value in Python."""

    def _run(self, x: Floats, ceil_mode: int | None = None, **settings: Any) -> tuple[Floats, ...]:  # noqa: ANN401
        size: list[int] = list(settings.get("kernel_shape") or [])
        if x.ndim != _PLANE or len(size) != len(x.shape[2:]) or len(self.output) > 1:
            return super()._run(x, ceil_mode=ceil_mode, **settings)
        steps, gaps = _pair(settings.get("strides")), _pair(settings.get("dilations"))
        spans = ((size[0] - 1) * gaps[0] + 1, (size[1] - 1) * gaps[1] + 1)
        edges = _edges(x.shape[2:], spans, steps, settings)
        if ceil_mode:  # a last window that begins inside the image counts, though it ends outside
            edges = [
                (before, after + _missing(extent + before, extent + before + after, span, step))
                for (before, after), extent, span, step in zip(edges, x.shape[2:], spans, steps, strict=True)
            ]
        padded = np.pad(x, ((0, 0), (0, 0), *edges), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
        seen: Floats = windows[:, :, :: steps[0], :: steps[1], :: gaps[0], :: gaps[1]]
        return (seen.max(axis=(4, 5)),)


class BatchNormalization(OpRun):
    """BatchNormalization at inference; onnx's own, for opsets before 14, takes the statistics of the batch."""

    op_domain = ""

    def _run(
        self,
        x: Floats,
        scale: Floats,
        shift: Floats,
        mean: Floats,
        variance: Floats,
        epsilon: float | None = None,
        **settings: Any,  # noqa: ANN401 - the attributes of the operator
    ) -> tuple[Floats]:
        shape = (1, -1, *(1,) * (x.ndim - 2))
        factor = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon))
        return ((x - mean.reshape(shape)) * factor.reshape(shape) + shift.reshape(shape),)


class QuantizeLinear(OpRun):
    """QuantizeLinear to 8 bits; onnx's own lacks some opsets."""

    op_domain = ""

    def _run(
        self,
        x: Floats,
        scale: Floats,
        zero_point: npt.NDArray[np.integer[Any]] | None = None,
        axis: int | None = None,
        **settings: Any,  # noqa: ANN401 - the attributes of the operator
    ) -> tuple[npt.NDArray[np.integer[Any]]]:
        _require_whole_axes(settings)
        zero = np.zeros((), np.uint8) if zero_point is None else zero_point
        limits = np.iinfo(zero.dtype)
        codes = np.rint(x / _along(scale, x.ndim, axis)) + _along(zero, x.ndim, axis)
        return (codes.clip(limits.min, limits.max).astype(zero.dtype),)


class DequantizeLinear(OpRun):
    """DequantizeLinear from integers; onnx's own lacks some opsets."""

    op_domain = ""

    def _run(
        self,
        x: npt.NDArray[np.integer[Any]],
        scale: Floats,
        zero_point: npt.NDArray[np.integer[Any]] | None = None,
        axis: int | None = None,
        **settings: Any,  # noqa: ANN401 - the attributes of the operator
    ) -> tuple[Floats]:
        _require_whole_axes(settings)
        codes = x.astype(np.float64)
        if zero_point is not None:
            codes -= _along(zero_point, x.ndim, axis)
        return (codes * _along(scale, x.ndim, axis),)


def _require_whole_axes(settings: Mapping[str, Any]) -> None:
    """Check that scales are for whole axes and types as the zero point says: all that was usual before opset 21."""
    odd = [name for name in ("block_size", "output_dtype", "precision") if settings.get(name)]
    if odd:
        raise ValueError(f"quantization with {odd[0]}")


def _along(values: npt.NDArray[Any], axes: int, axis: int | None) -> npt.NDArray[Any]:
    """Return values per place of an axis, or one for all, such that they fit a tensor of so many axes."""
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    shape = [1] * axes
    shape[1 if axis is None else axis] = values.size
    return values.reshape(shape)


def _missing(end: int, padded: int, span: int, step: int) -> int:
    """Return how much longer an axis must be for one more window, if that begins before its unpadded end."""
    start = ((padded - span) // step + 1) * step
    return start + span - padded if start < end and (padded - span) % step else 0


def _pair(values: Sequence[int] | None) -> tuple[int, int]:
    return (values[0], values[1]) if values else (1, 1)


def _edges(
    extents: Sequence[int], spans: Sequence[int], steps: Sequence[int], settings: Mapping[str, Any]
) -> list[tuple[int, int]]:
    """Return the padding before and after rows and columns."""
    how = settings.get("auto_pad")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        whole = [
            max(0, (-(-extent // step) - 1) * step + span - extent)
            for extent, span, step in zip(extents, spans, steps, strict=True)
        ]
        halves = [(total // 2, total - total // 2) for total in whole]
        return halves if how == "SAME_UPPER" else [(after, before) for before, after in halves]
    pads = settings.get("pads")
    found: list[int] = [0] * _PLANE if how == "VALID" or not pads else list(pads)
    return [(found[0], found[2]), (found[1], found[3])]


_OWN: list[type[OpRun]] = [Conv, MaxPool, BatchNormalization, QuantizeLinear, DequantizeLinear]
"""Operators that are computed here."""


def evaluate(model: ModelProto, feeds: Mapping[str, Floats]) -> list[Floats]:
    """Compute the outputs of a model in float64.

    Args:
        model: Float32; it is not changed.
        feeds: Its inputs.
    """
    evaluator = ReferenceEvaluator(_in_float64(model), new_ops=_OWN)
    with np.errstate(all="ignore"):
        found = cast("list[Any]", evaluator.run(None, dict(feeds)))
    return [np.asarray(value, np.float64) for value in found]


def _in_float64(model: ModelProto) -> ModelProto:
    """Return a copy of a model that computes in float64 throughout."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for entry in (*copy.graph.input, *copy.graph.output):
        if entry.type.tensor_type.elem_type == TensorProto.FLOAT:
            entry.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float64)))
    return copy
