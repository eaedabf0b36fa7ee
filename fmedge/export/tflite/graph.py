"""Write a TFLite file table by table, with the format's own schema classes."""
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from fmedge.export.tflite.schema import schema

_Table = Any
"""A table of the flatbuffer as an object."""

IDENTIFIER = b"TFL3"
VERSION = 3
"""Version of the format, which every TFLite file states."""


class TfliteGraph:
    """One TFLite subgraph under construction. Tensors are identified by number; shapes omit the batch."""

    def __init__(self, batch: int | None) -> None:
        self._batch = batch
        self._tensors: list[_Table] = []
        self._operators: list[_Table] = []
        self._codes: list[_Table] = []
        self._buffers: list[_Table] = [schema.BufferT()]  # the first one is empty by convention
        self._known: dict[bytes | str, int] = {}

    def tensor(
        self, name: str, shape: Sequence[int], dtype: npt.DTypeLike, scale: float | None = None, zero: int = 0
    ) -> int:
        """Declare a tensor of shape (batch, *shape); a scale and a zero point say which value an integer stands for."""
        number = self._declare(name, [self._batch or 1, *shape], dtype, None if scale is None else [scale], zero)
        if self._batch is None:
            self._tensors[number].shapeSignature = [-1, *shape]
        return number

    def constant(
        self,
        name: str,
        values: npt.ArrayLike,
        dtype: npt.DTypeLike,
        scales: Sequence[float] | npt.NDArray[np.floating] | None = None,
        zero: int = 0,
    ) -> int:
        """Store an array; equal arrays are stored once. If there are several scales, they belong to its first axis."""
        array = np.ascontiguousarray(values, dtype=dtype)
        content = array.tobytes()
        if content not in self._known:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(content, np.uint8)
            self._buffers.append(buffer)
            self._known[content] = len(self._buffers) - 1
        number = self._declare(name, list(array.shape), dtype, scales, zero)
        self._tensors[number].buffer = self._known[content]
        return number

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a declared tensor, without the batch."""
        return tuple(self._tensors[tensor].shape[1:])

    def operator(self, code: str, version: int, inputs: Sequence[int], output: int, options: str, **fields: int) -> int:
        """Add an operator and return its output.

        Args:
            code: Name of the operator in the schema.
            version: Lowest version of the operator that supports this use; see TensorFlow's ``op_version.cc``.
            inputs: Tensors that it reads.
            output: Tensor that it writes.
            options: Name of the schema table with its options.
            **fields: Values of the options.
        """
        table = getattr(schema, f"{options}T")()
        for name, value in fields.items():
            setattr(table, name, value)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(code, version)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptions, operator.builtinOptionsType = table, getattr(schema.BuiltinOptions, options)
        self._operators.append(operator)
        return output

    def convolve(self, inputs: Sequence[int], output: int, *, relu: bool) -> int:
        """Add a convolution of stride 1 that keeps the size; its inputs are values, kernel (out, 3, 3, in) and bias."""
        kinds = schema.ActivationFunctionType
        return self.operator(
            "CONV_2D", 3, inputs, output, "Conv2DOptions", padding=schema.Padding.SAME, strideW=1, strideH=1,
            dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=kinds.RELU if relu else kinds.NONE,
        )  # fmt: skip

    def max_pool(self, values: int, output: int) -> int:
        """Add a 2x2 maximum pool with stride 2."""
        return self.operator(
            "MAX_POOL_2D", 2, [values], output, "Pool2DOptions",
            padding=schema.Padding.VALID, strideW=2, strideH=2, filterWidth=2, filterHeight=2,
        )  # fmt: skip

    def pack(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the content of the file."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs, model.buffers = (
            VERSION,
            self._codes,
            [graph],
            self._buffers,
        )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _declare(
        self,
        name: str,
        shape: list[int],
        dtype: npt.DTypeLike,
        scales: Sequence[float] | npt.NDArray[np.floating] | None,
        zero: int,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), shape
        tensor.type = getattr(schema.TensorType, np.dtype(dtype).name.upper())
        if scales is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.asarray(scales, np.float32)
            quantization.zeroPoint = np.full(len(scales), zero, np.int64)
            tensor.quantization = quantization
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _code(self, name: str, version: int) -> int:
        if name not in self._known:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # the schema's placeholder for larger codes
            code.version = version
            self._codes.append(code)
            self._known[name] = len(self._codes) - 1
        return self._known[name]
