"""Let onnxruntime's quantizer write a graph of QuantizeLinear and DequantizeLinear, and finish it."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from fmedge.export.onnx.quantized.channels import FINE
from fmedge.export.onnx.quantized.graphs import (
    Array,
    Floats,
    constants_of,
    copied,
    declared,
    makers_before,
    output_names,
    passed_on,
    readers_of,
    set_constants,
    tidy,
)
from fmedge.export.onnx.quantized.image import CODES
from fmedge.export.onnx.quantized.statistics import Range

_OPERATORS = sorted({*QLinearOpsRegistry, *QDQRegistry})
"""Operators between which onnxruntime's ``quantize_static`` puts 8-bit codes by default."""

_INTEGER = frozenset(
    (
        *("Conv", "MatMul", "Gemm", "Add", "Mul", "Sigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool", "Concat"),
        *("MaxPool", "Softmax", "Where", "Resize", "Split", "Gather", "Transpose", "Reshape", "Squeeze", "Unsqueeze"),
        *("Flatten", "Slice", "Pad", "Identity"),
    )
)
"""Operators that ONNX Runtime computes on 8-bit codes where all their values are such."""

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def quantized(
    model: ModelProto,
    ranges: Mapping[str, Range],
    steps: Mapping[str, Floats],
    factors: Mapping[str, Floats],
    *,
    seven_bit: bool,
) -> ModelProto:
    """Quantize a float model: weights to int8 with a step per filter, activations to uint8.

    Args:
        model: The float model, with shapes that onnx can infer.
        ranges: The range of every float tensor that is no constant.
        steps: Steps of weight constants that are rounded already, one per filter; all others get theirs from their
            largest magnitude.
        factors: The factors of taps; they are multiplied by an operator named after the tap, which becomes part of the
            tap's DequantizeLinear.
        seven_bit: Whether weights have 7 bits.
    """
    inferred: ModelProto = onnx.shape_inference.infer_shapes(model)
    overrides = {
        name: [
            {"scale": np.float32(step), "zero_point": np.int8(0), **({} if index else {"axis": 0})}
            for index, step in enumerate(each)
        ]
        for name, each in steps.items()
    }
    ranges = dict.fromkeys(passed_on(model), (0.0, 1.0)) | dict(ranges)  # the quantizer looks for them, but stores none
    limits: dict[str, Any] = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()
    }
    writer: Any = QDQQuantizer(
        inferred,
        True,  # a step per filter
        seven_bit,
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, limits),
        [],
        [*(f"{tap}{FINE}" for tap in factors), *(node.name for node in makers_before(model, CODES))],
        _OPERATORS,
        {"TensorQuantOverrides": overrides},
    )
    with _quiet_log():
        writer.quantize_model()
    found = copied(writer.model.model)
    _read_bytes(found)
    _store_taps_finely(found, factors)
    tidy(found)
    return found


@contextmanager
def _quiet_log() -> Generator[None]:
    """Keep remarks that the quantizer makes on operators it leaves alone from a program that has set up no log."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)  # without any handler, logging would add one that prints
    try:
        yield
    finally:
        root.removeHandler(handler)


def _read_bytes(model: ModelProto) -> None:
    """Where the image's bytes are turned into floats and back into codes, let the codes be the bytes."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = readers_of(model).get(CODES, [])
    cast = makers.get(CODES)
    if cast is None or cast.op_type not in ("Cast", "Identity") or [node.op_type for node in readers] != [_QUANTIZE]:
        return
    if cast.op_type == "Identity":  # they are floats that have the values of codes
        readers[0].input[0] = cast.input[0]
        return
    for node in model.graph.node:
        node.input[:] = [cast.input[0] if name == readers[0].output[0] else name for name in node.input]


def _store_taps_finely(model: ModelProto, factors: Mapping[str, Floats]) -> None:
    """Turn DequantizeLinear and the multiplication by a tap's factors into one operator with a step per channel."""
    constants, made = constants_of(model), dict[str, Array]()
    makers = {name: node for node in model.graph.node for name in node.output}
    for tap, each in factors.items():
        multiply = makers[tap]
        before = makers.get(multiply.input[0])
        if before is None or before.op_type != _DEQUANTIZE:
            continue
        step, zero = f"{tap}{FINE}_step", f"{tap}{FINE}_zero"
        made[step] = (each * float(constants[before.input[1]])).astype(np.float32)
        made[zero] = np.full(len(each), constants[before.input[2]])
        axis = 1 if constants[multiply.input[1]].ndim == 3 else 3
        multiply.CopyFrom(helper.make_node(_DEQUANTIZE, [before.input[0], step, zero], [tap], multiply.name, axis=axis))
    set_constants(model, made)


def float_operators(model: ModelProto) -> dict[str, int]:
    """Count the operators of a quantized model that are computed in float, by kind."""
    constants, types = constants_of(model), declared(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    readers, outputs = readers_of(model), output_names(model)

    def is_integer(node: NodeProto) -> bool:
        tensors = [name for name in node.input if name and name not in constants]
        return (
            node.op_type in _INTEGER
            and all(name in makers and makers[name].op_type == _DEQUANTIZE for name in tensors)
            and not any(name in outputs for name in node.output)
            and all(each.op_type == _QUANTIZE for name in node.output for each in readers.get(name, ()))
        )

    found = Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type not in (_QUANTIZE, _DEQUANTIZE)
        and types.get(node.output[0], (TensorProto.FLOAT, ()))[0] == TensorProto.FLOAT
        and not is_integer(node)
    )
    return dict(sorted(found.items()))
