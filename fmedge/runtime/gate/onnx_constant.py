"""Read one constant from an ONNX file, by its name."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from fmedge.runtime.gate.onnx_reader import GRAPH, MODEL, RAW, TENSOR
from fmedge.runtime.gate.protobuf import Reader, spans

_FLOATS = {1: "<f4", 10: "<f2"}
"""NumPy's names of the ONNX types that are read."""


def read_constant(data: bytes, name: str) -> npt.NDArray[np.float32] | None:
    """Read a constant as float32 from a file that has passed the gate.

    Args:
        data: The file's content.
        name: The constant's name; the constant must be float32 or float16, stored raw.

    Returns:
        Its values; None where there is no such constant of that name.
    """
    reader = Reader(data)
    graph = reader.read(GRAPH, *reader.read(MODEL, 0, len(data))[7])
    for start, end in spans(graph, 5):
        tensor = reader.read(TENSOR, start, end)
        if reader.text(tensor, 8) == name and RAW in tensor:
            dtype, shape, (first, last) = _FLOATS.get(tensor[2][0]), tensor.get(1, []), tensor[RAW]
            if dtype is None or prod(shape) * np.dtype(dtype).itemsize != last - first:
                return None
            return np.frombuffer(data[first:last], dtype).reshape(shape).astype(np.float32)
    return None
