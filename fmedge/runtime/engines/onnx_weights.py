"""Separate an ONNX model from its weights, so that an engine computes with the very bytes that were read and hashed.

An engine that receives the whole file copies the weights out of it: ONNX Runtime does so twice, which costs 60 ms and
120 MB at VGG16's full depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.runtime.gate.onnx_reader import GRAPH, MODEL, RAW, TENSOR
from fmedge.runtime.gate.onnx_shapes import DTYPES
from fmedge.runtime.gate.protobuf import SPAN, VARINT, Fields, Reader, spans

_LEAST_BYTES = 1 << 16
"""Smaller constants stay in the model: shapes, for instance, which an engine reads while it loads."""

_INITIALIZERS = 5
_INPUTS = 11
_GRAPH_FIELD = 7
_LOCATION = b"elsewhere"
"""Stated as the name of the weights' file; no such file is ever opened, since all of its content is handed over."""


def detach_weights(data: bytes, *, as_inputs: bool = False) -> tuple[bytes, Mapping[str, npt.NDArray[Any]]]:
    """Take the large constants out of a model.

    Args:
        data: An ONNX file that has passed the gate.
        as_inputs: Whether the constants become inputs of the model, to be fed with every run: an engine then neither
            copies nor reorders them. Otherwise the model states that they are in another file.

    Returns:
        The model without those constants, and the constants by name, as read-only views of ``data``. A constant that
        is not aligned to the size of its elements stays in the model.
    """
    reader = Reader(data)
    model = reader.read(MODEL, 0, len(data))
    graph = reader.read(GRAPH, *model[_GRAPH_FIELD])
    found: dict[str, npt.NDArray[Any]] = {}
    written: list[bytes] = []
    for start, end in spans(graph, _INITIALIZERS):
        tensor = reader.read(TENSOR, start, end) if end - start > _LEAST_BYTES else {}
        values = _view(data, tensor)
        if values is None:
            written.append(_field(_INITIALIZERS, data[start:end]))
        else:
            name = reader.text(tensor, 8)
            found[name] = values
            input_ = _field(_INPUTS, _declared(name, tensor))
            written.append(input_ if as_inputs else _field(_INITIALIZERS, _elsewhere(data, tensor)))
    if not found:
        return data, {}
    rest = _message(data, {number: values for number, values in graph.items() if number != _INITIALIZERS}, {})
    frame = _message(data, {**model, _GRAPH_FIELD: []}, {1: VARINT, 5: VARINT})
    return frame + _field(_GRAPH_FIELD, rest + b"".join(written)), found


def _view(data: bytes, tensor: Fields) -> npt.NDArray[Any] | None:
    """Return a view of a constant's values; None where they are few, not stored raw, or not aligned."""
    if RAW not in tensor or tensor[RAW][1] - tensor[RAW][0] < _LEAST_BYTES:
        return None
    dtype, _, _ = DTYPES[tensor[2][0]]
    shape = tensor.get(1, [])
    values = np.frombuffer(data, np.dtype(dtype), prod(shape), tensor[RAW][0])
    return values.reshape(shape) if values.flags.aligned else None


def _declared(name: str, tensor: Fields) -> bytes:
    """Encode a constant as an input; field numbers: onnx.proto's ValueInfoProto, TypeProto and TensorShapeProto."""
    extents = b"".join(_field(1, _number(1, extent)) for extent in tensor.get(1, []))
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, tensor[2][0]) + _field(2, extents)))


def _elsewhere(data: bytes, tensor: Fields) -> bytes:
    """Encode a constant without its values; field numbers: onnx.proto's TensorProto and StringStringEntryProto."""
    start, end = tensor[RAW]
    entries = {b"location": _LOCATION, b"offset": b"0", b"length": b"%d" % (end - start)}
    kept = {number: values for number, values in tensor.items() if number not in (RAW, 14)}
    written = _message(data, kept, {1: VARINT, 2: VARINT})
    for key, value in entries.items():
        written += _field(13, _field(1, key) + _field(2, value))
    return written + _number(14, 1)


def _message(data: bytes, fields: Fields, wires: Mapping[int, int]) -> bytes:
    """Encode a message from the fields that were read: as numbers where ``wires`` says so, as spans otherwise."""
    written: list[bytes] = []
    for number, values in fields.items():
        if wires.get(number, SPAN) == VARINT:
            written += [_number(number, value) for value in values]
        else:
            written += [_field(number, data[start:end]) for start, end in spans(fields, number)]
    return b"".join(written)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(value)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | SPAN) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encode a number, seven bits per byte, the lowest first: https://protobuf.dev/programming-guides/encoding."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
