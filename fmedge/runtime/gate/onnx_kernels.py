"""Find, in an ONNX file, the kernels of the convolutions that see the image itself."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

import numpy as np
import numpy.typing as npt

from fmedge.model.first_kernel import FirstKernel
from fmedge.runtime.gate.onnx_reader import GRAPH, MODEL, NODE, RAW, TENSOR, VALUE
from fmedge.runtime.gate.protobuf import Fields, Reader, spans

_FLOATS = {1: "<f4", 10: "<f2"}
"""NumPy's names of the ONNX types that are read."""

_PREPARING = ("Transpose", "Cast", "Gather", "Mul", "Sub", "Div", "Add", "Pad")
"""Operators between an image and the first convolution; Gather reverses the order of the colours."""

_PASSING = ("Relu", "Clip", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "HardSwish", "Mul")
"""Operators after which a map is still that of the convolution before; Mul is half of x * sigmoid(x)."""


_MOST_ROWS = 11
"""Rows and columns of the largest kernels that are returned, those of AlexNet."""


def first_kernels(data: bytes, taps: Collection[str]) -> dict[str, FirstKernel]:
    """Read the kernels of taps whose convolution reads the image, from a file that has passed the gate.

    Args:
        data: The file's content.
        taps: Names of the model's outputs.

    Returns:
        Per such tap its kernels and biases. Nothing for kernels of integers, of other numbers of colours, larger than
        :data:`_MOST_ROWS`, or of values that are not finite.
    """
    reader = Reader(data)
    graph = reader.read(GRAPH, *reader.read(MODEL, 0, len(data))[7])
    image = {reader.name(*reader.read(VALUE, *span)[1]) for span in spans(graph, 11)[:1]}
    prepared = dict.fromkeys(image, False)
    kernels: dict[str, tuple[list[str], bool]] = {}
    for span in spans(graph, 1):
        node = reader.read(NODE, *span)
        kind = reader.text(node, 4)
        inputs, outputs = ([reader.name(*each) for each in spans(node, field)] for field in (1, 2))
        first = next((name for name in inputs if name in prepared), None)
        if kind == "Conv" and first is not None and first == inputs[0]:
            kernels[outputs[0]] = inputs[1:], prepared[first]
        elif kind in _PREPARING and first is not None:
            prepared[outputs[0]] = prepared[first] != (kind == "Gather")
        elif kind in _PASSING and inputs[0] in kernels:
            kernels[outputs[0]] = kernels[inputs[0]]
    wanted = {tap: kernels[tap] for tap in taps if tap in kernels}
    constants = _constants(reader, graph, {name for names, _ in wanted.values() for name in names}) if wanted else {}
    found = {tap: _first_kernel(names, constants, reverse) for tap, (names, reverse) in wanted.items()}
    return {tap: kernel for tap, kernel in found.items() if kernel is not None}


def _first_kernel(names: list[str], constants: dict[str, npt.NDArray[np.float32]], reverse: bool) -> FirstKernel | None:
    weights = _in_rgb(constants.get(names[0]), reverse)
    if weights is None:
        return None
    bias = constants.get(names[1]) if names[1:] else np.zeros(len(weights), np.float32)
    fits = bias is not None and bias.shape == (len(weights),) and np.isfinite(bias).all()
    return FirstKernel(weights, bias) if bias is not None and fits else None


def _constants(reader: Reader, graph: Fields, names: Collection[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Read constants that are stored raw as float32 or float16, as float32."""
    found = dict[str, npt.NDArray[np.float32]]()
    for span in spans(graph, 5):
        tensor = reader.read(TENSOR, *span)
        name = reader.text(tensor, 8)
        if name not in names or RAW not in tensor:
            continue
        dtype, shape, (first, last) = _FLOATS.get(tensor[2][0]), tensor.get(1, []), tensor[RAW]
        if dtype is not None and prod(shape) * np.dtype(dtype).itemsize == last - first:
            found[name] = np.frombuffer(reader.data[first:last], dtype).reshape(shape).astype(np.float32)
    return found


def _in_rgb(kernel: npt.NDArray[np.float32] | None, reverse: bool) -> npt.NDArray[np.float32] | None:
    """Turn a kernel (channels, colours, rows, columns) into (channels, rows, columns, 3); None where it is none."""
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] != 3 or max(kernel.shape[2:]) > _MOST_ROWS:
        return None
    if not np.isfinite(kernel).all():
        return None
    return (kernel[:, ::-1] if reverse else kernel).transpose(0, 2, 3, 1)
