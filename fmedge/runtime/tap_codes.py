"""Find, in an int8 model file, the codes of its outputs: scale and zero point of what was turned into floats last.

A file's operators are followed from each output backwards. Where something else than a change of layout or a factor per
channel stands between the codes and the output, nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt

from fmedge.model.artifact import Artifact
from fmedge.model.submodel import Format, Precision
from fmedge.model.tap_codes import TapCodes
from fmedge.runtime.gate.bounds import MAX_NODES, MAX_TENSORS
from fmedge.runtime.gate.flatbuffer import Table, root
from fmedge.runtime.gate.onnx_reader import GRAPH, MODEL, NODE, RAW, TENSOR, VALUE
from fmedge.runtime.gate.protobuf import Fields, Reader, spans
from fmedge.runtime.gate.tflite_operators import OPERATORS

_CODES = {"uint8": (0, 255), "int8": (-128, 127)}
"""Types of codes: the lowest and the highest."""


def read_codes(artifact: Artifact) -> dict[str, TapCodes]:
    """Read the codes of an artifact's taps.

    Args:
        artifact: A model that has passed the gate.

    Returns:
        Per tap; taps that are computed in float, or whose codes are not found, are missing.
    """
    reader = _READERS.get(artifact.card.format)
    if reader is None or artifact.card.precision is not Precision.INT8:
        return {}
    channels = {spec.name: spec.shape[spec.layout.index("C")] for spec in artifact.card.outputs}
    return {
        tap: codes
        for tap, codes in reader(artifact.model).items()
        if codes.scale.shape == codes.zero_point.shape and tap in channels and len(codes.scale) in (1, channels[tap])
    }


# ---- ONNX: field numbers are those of onnx.proto ----------------------------------------------------------------

_ONNX_TYPES = {1: "float32", 2: "uint8", 3: "int8"}
_ONNX_KEEPING = ("Transpose", "Identity")


def _read_onnx(data: bytes) -> dict[str, TapCodes]:
    reader = Reader(data)
    graph = reader.read(GRAPH, *reader.read(MODEL, 0, len(data))[7])
    nodes: dict[str, tuple[str, list[str]]] = {}
    for span in spans(graph, 1):
        node = reader.read(NODE, *span)
        inputs, outputs = ([reader.name(*each) for each in spans(node, number)] for number in (1, 2))
        nodes.update(dict.fromkeys(outputs, (reader.text(node, 4), inputs)))
    found: dict[str, tuple[str, str]] = {}
    for span in spans(graph, 12):
        output = name = reader.text(reader.read(VALUE, *span), 1)
        kind, inputs = nodes.get(name, ("", []))
        while kind in _ONNX_KEEPING:
            kind, inputs = nodes.get(inputs[0], ("", []))
        if kind == "DequantizeLinear" and len(inputs) == 3:
            found[output] = inputs[1], inputs[2]
    constants = _onnx_constants(reader, graph, {name for names in found.values() for name in names})
    codes = {output: _onnx_codes(constants.get(scale), constants.get(zero)) for output, (scale, zero) in found.items()}
    return {output: each for output, each in codes.items() if each is not None}


def _onnx_constants(reader: Reader, graph: Fields, names: Collection[str]) -> dict[str, npt.NDArray[np.generic]]:
    """Read small constants that are stored raw, each as a list."""
    found: dict[str, npt.NDArray[np.generic]] = {}
    for span in spans(graph, 5):
        tensor = reader.read(TENSOR, *span)
        name, dtype = reader.text(tensor, 8), _ONNX_TYPES.get(tensor.get(2, [0])[0])
        if name in names and dtype is not None and RAW in tensor:
            first, last = tensor[RAW]
            found[name] = np.frombuffer(reader.data[first:last], np.dtype(dtype).newbyteorder("<"))
    return found


def _onnx_codes(scale: npt.NDArray[np.generic] | None, zero: npt.NDArray[np.generic] | None) -> TapCodes | None:
    if scale is None or zero is None or scale.dtype != np.float32 or zero.dtype.name not in _CODES:
        return None
    return TapCodes(scale.astype(np.float32), zero.astype(np.int32), *_CODES[zero.dtype.name])


# ---- TFLite: fields are numbered as in its schema, version 3 ------------------------------------------------------

_TFLITE_TYPES = {3: "uint8", 9: "int8"}
_TFLITE_FLOAT = 0
_MAX_PORTS = 1 << 10
"""Most inputs or outputs of one operator, as the gate has it."""


def _read_tflite(data: bytes) -> dict[str, TapCodes]:
    model = root(data, b"TFL3")
    (graph,) = model.tables(2, 1)
    tensors, buffers = graph.tables(0, MAX_TENSORS), model.tables(4, MAX_TENSORS)
    kinds = [OPERATORS[max(table.number(0, "b"), table.number(3, "i"))] for table in model.tables(1, MAX_NODES)]
    nodes: dict[int, tuple[str, tuple[int, ...]]] = {}
    for table in graph.tables(3, MAX_NODES):
        inputs, outputs = (table.numbers(number, "i", _MAX_PORTS) for number in (1, 2))
        nodes.update(dict.fromkeys(outputs, (kinds[table.number(0, "I")], inputs)))
    found: dict[str, TapCodes] = {}
    for entry in model.tables(7, 1)[0].tables(1, _MAX_PORTS):
        kind, inputs = nodes.get(entry.number(1, "I"), ("", ()))
        factors = np.ones(1, np.float32)
        while kind in ("MUL", "TRANSPOSE"):
            if kind == "MUL":
                more = _tflite_floats(data, tensors[inputs[1]], buffers)
                factors = factors * more if 1 in (len(factors), len(more)) or len(factors) == len(more) else more[:0]
            kind, inputs = nodes.get(inputs[0], ("", ()))
        codes = _tflite_codes(tensors[inputs[0]], factors) if kind == "DEQUANTIZE" else None
        if codes is not None:
            found[entry.text(0)] = codes
    return found


def _tflite_floats(data: bytes, tensor: Table, buffers: list[Table]) -> npt.NDArray[np.float32]:
    """Read a constant of floats as a list; empty where the tensor is none, so that it fits nothing."""
    start, length = buffers[tensor.number(2, "I")].vector(0, 1)
    return np.frombuffer(data[start : start + length] if tensor.number(1, "b") == _TFLITE_FLOAT else b"", "<f4")


def _tflite_codes(tensor: Table, factors: npt.NDArray[np.float32]) -> TapCodes | None:
    dtype, quantization = _TFLITE_TYPES.get(tensor.number(1, "b")), tensor.table(4)
    if dtype is None or quantization is None or not factors.size:
        return None
    if quantization.vector(2, 4)[1] != 1 or quantization.vector(3, 8)[1] != 1:
        return None
    (scale,), (zero,) = quantization.numbers(2, "f", 1), quantization.numbers(3, "q", 1)
    return TapCodes(np.float32(scale) * factors, np.full(len(factors), zero, np.int32), *_CODES[dtype])


_READERS: Mapping[Format, Callable[[bytes], dict[str, TapCodes]]] = {
    Format.ONNX: _read_onnx,
    Format.TFLITE: _read_tflite,
}
