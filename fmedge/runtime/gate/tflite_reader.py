"""The gate for TFLite models: read and check a file, from its bytes alone, before an engine gets it.

Fields are numbered as in TFLite's schema, version 3. There is no nesting: one subgraph, and no operator that calls
another.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from fmedge.model.card import METADATA_KEY
from fmedge.runtime.gate.bounds import (
    MAX_AXES,
    MAX_ENTRIES,
    MAX_NODES,
    MAX_TENSORS,
    Declared,
    ModelFacts,
    Needs,
    Shape,
    damaged,
    facts_text,
    forbidden,
    require_range,
    require_shape,
)
from fmedge.runtime.gate.flatbuffer import Table, root
from fmedge.runtime.gate.relu_count import IMAGE, Way, joined
from fmedge.runtime.gate.shapes import MAX_KNOWN, Step, Value, work_out
from fmedge.runtime.gate.tflite_operators import CONVOLUTIONS, FUSED, FUSED_RELU, KEEPING, OPERATORS, OPTIONS, SIZES
from fmedge.runtime.gate.tflite_shapes import BYTES, INTEGERS, LISTS, RULES

_DTYPES: Mapping[int, tuple[str, int]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    6: ("bool", 8),
    7: ("int16", 16),
    9: ("int8", 8),
    15: ("uint32", 32),
    17: ("int4", 4),
}
"""For each TFLite type: NumPy's name (int4 exists only in TFLite) and bits per value."""

_MAX_PORTS = 1 << 10
"""Most inputs or outputs of one operator: a concatenation in DenseNet has 58."""


def inspect_tflite(data: bytes) -> ModelFacts:
    """Read a TFLite file and check that it contains only what fmedge runs.

    Args:
        data: The file's content: the very bytes that an engine will get.

    Raises:
        ArtifactError: It is malformed, or contains something else; without the file's name.
        LimitExceeded: It exceeds a limit; without the file's name.
    """
    model = root(data, b"TFL3")
    graphs = model.tables(2, MAX_NODES)
    if len(graphs) != 1:
        raise forbidden(f"{len(graphs)} subgraphs", "1")
    if model.vector(8, 4)[1] or model.vector(9, 4)[1]:
        raise forbidden("constants in another file", "constants inside the file")
    buffers = [_buffer(table) for table in model.tables(4, MAX_TENSORS)]
    tensors = [_tensor(data, table, buffers) for table in graphs[0].tables(0, MAX_TENSORS)]
    operators = [_operator(table) for table in model.tables(1, MAX_NODES)]
    graph = _Graph(tensors, operators)
    graph.check(graphs[0])
    inputs, outputs = (_signature(model, graphs[0], tensors, field) for field in (0, 1))
    ways = {spec.name: graph.ways[index] for spec, index in outputs if index in graph.ways}
    fed, given = (tuple(spec for spec, _ in side) for side in (inputs, outputs))
    needs = partial(graph.needs, *({spec.name: _key(index) for spec, index in side} for side in (inputs, outputs)))
    return ModelFacts(fed, given, _facts(data, model, buffers), ways, needs)


class _Tensor(NamedTuple):
    """A tensor as the file declares it.

    Attributes:
        spec: Its name, type and shape.
        constant: Whether the file contains its values.
        values: Its values, if it is a small constant of a type that states sizes; otherwise None.
        unsigned: Whether it contains 8-bit codes whose lowest stands for zero.
    """

    spec: Declared
    constant: bool
    values: tuple[int, ...] | None
    unsigned: bool


def _buffer(table: Table) -> tuple[int, int]:
    """Return the position of a buffer's bytes, and their number."""
    if table.number(1, "Q") or table.number(2, "Q"):
        raise forbidden("constants after the model or in another file", "constants inside the model")
    return table.vector(0, 1)


def _tensor(data: bytes, table: Table, buffers: list[tuple[int, int]]) -> _Tensor:
    name = table.text(3)
    shape = table.numbers(0, "i", MAX_AXES)
    signature = table.numbers(7, "i", MAX_AXES)
    number = table.number(1, "b")
    if number not in _DTYPES:
        raise forbidden(f"'{name}' of TFLite type {number}", ", ".join(known for known, _ in _DTYPES.values()))
    if table.number(5, "B") or table.table(6) or table.vector(9, 4)[1] or table.number(10, "I"):
        raise forbidden(f"'{name}', which is variable, sparse, of several types or stored elsewhere", "plain tensors")
    dtype, bits = _DTYPES[number]
    size = require_shape(name, shape, bits)
    if signature and (
        len(signature) != len(shape)
        or any(extent not in (-1, own) for extent, own in zip(signature, shape, strict=True))
    ):
        raise damaged(f"'{name}' has two shapes")
    zero = _check_quantization(name, table.table(4), shape)
    buffer = table.number(2, "I")
    if buffer >= len(buffers):
        raise damaged(f"'{name}' is in buffer {buffer} of {len(buffers)}")
    start, length = buffers[buffer]
    if length and length != size:
        raise damaged(f"'{name}' holds {length:,} bytes where its shape says {size:,}")
    spec = Declared(name, dtype, tuple(None if extent == -1 else extent for extent in signature or shape))
    values = None
    if dtype in _SMALL and 0 < length <= MAX_KNOWN * bits // 8:
        values = struct.unpack_from(f"<{length * 8 // bits}{_SMALL[dtype]}", data, start)
    return _Tensor(spec, length > 0, values, zero is not None and zero == _LOWEST.get(dtype))


_SMALL = {"int32": "i", "int64": "q"}
"""Types that state sizes, and their letters in the struct module."""

_LOWEST = {"uint8": 0, "int8": -128}
"""Types of codes, and their lowest number: a zero point there leaves no codes for values below zero."""


def _check_quantization(name: str, table: Table | None, shape: tuple[int, ...]) -> int | None:
    """Check that there is one scale, or one per position on an axis; the engine trusts their number.

    Returns:
        The zero point, if there is one for the whole tensor; otherwise None.
    """
    if table is None:
        return None
    if table.number(4, "B"):
        raise forbidden(f"'{name}' with custom quantization", "scales and zero points")
    scales, zeros = table.vector(2, 4)[1], table.vector(3, 8)[1]
    for field in (0, 1):
        table.vector(field, 4)
    axis = table.number(6, "i")
    per_axis = 0 <= axis < len(shape) and shape[axis] == scales
    if not (scales <= 1 or per_axis) or zeros not in (scales, 0):
        raise damaged(f"'{name}' has {scales} scales and {zeros} zero points")
    return table.numbers(3, "q", 1)[0] if zeros == 1 else None


def _operator(table: Table) -> str:
    """Return the name of a built-in operator; older files have its number in an 8-bit field."""
    code = max(table.number(0, "b"), table.number(3, "i"))
    custom = table.text(1)
    if code not in OPERATORS or custom:
        raise forbidden(f"the operator {custom or code}", "those of convolutional networks, see docs/models.md")
    return OPERATORS[code]


class _Graph:
    """The subgraph while it is checked.

    Attributes:
        ways: For each tensor that is not a constant what happens on the way from the image.
    """

    def __init__(self, tensors: list[_Tensor], operators: list[str]) -> None:
        self._tensors = tensors
        self._operators = operators
        self._steps: list[Step] = []
        self._known = {index for index, tensor in enumerate(tensors) if tensor.constant}
        self.ways: dict[int, Way] = {}

    def check(self, graph: Table) -> None:
        """Read everything; see :func:`inspect_tflite`."""
        for index in graph.numbers(1, "i", _MAX_PORTS):
            self._define(index)
            self.ways[index] = IMAGE
        for table in graph.tables(3, MAX_NODES):
            self._node(table)
        for index in graph.numbers(2, "i", _MAX_PORTS):
            self._read("the model", index)

    def _define(self, index: int) -> None:
        if not 0 <= index < len(self._tensors):
            raise damaged(f"there is no tensor {index}")
        if index in self._known:
            raise damaged(f"'{self._tensors[index].spec.name}' is computed twice, or is a constant")
        self._known.add(index)

    def _read(self, reader: str, index: int) -> None:
        if not 0 <= index < len(self._tensors):
            raise damaged(f"there is no tensor {index}")
        if index not in self._known and 0 not in (self._tensors[index].spec.shape or ()):
            raise damaged(f"{reader} reads '{self._tensors[index].spec.name}', which nothing before it computes")

    def _node(self, table: Table) -> None:
        code = table.number(0, "I")
        if code >= len(self._operators):
            raise damaged(f"there is no operator {code}")
        operator = self._operators[code]
        if table.vector(5, 1)[1] or table.number(9, "Q") or table.number(10, "Q") or table.number(11, "B"):
            raise forbidden(f"{operator} with custom options", "built-in options")
        if table.vector(8, 4)[1] or any(table.numbers(7, "B", _MAX_PORTS)):
            raise forbidden(f"{operator} with state", "operators without state")
        sources = table.numbers(1, "i", _MAX_PORTS)
        for index in sources:
            if index != -1:  # an input that was left out
                self._read(operator, index)
        self._check_options(operator, table)
        way = self._way(operator, sources, table)
        results = table.numbers(2, "i", _MAX_PORTS)
        self._steps.append(self._step(operator, sources, results, table.table(4)))
        for index in results:
            self._define(index)
            if way is not None:
                self.ways[index] = way.clamped() if self._tensors[index].unsigned else way

    def _way(self, operator: str, sources: tuple[int, ...], table: Table) -> Way | None:
        """Return the way to an operator's outputs, without the effect of their codes; None after constants."""
        way = joined([self.ways[index] for index in sources if index in self.ways])
        if way is None:
            return None
        if operator in CONVOLUTIONS:
            way = way.convolved()
        elif operator == "RELU":
            way = way.relu()
        elif operator not in KEEPING:
            way = way.other()
        options = table.table(4) if operator in FUSED else None
        return way.relu() if options and options.number(FUSED[operator], "b") == FUSED_RELU else way

    def _step(self, operator: str, sources: Sequence[int], results: Sequence[int], options: Table | None) -> Step:
        integers: dict[str, Sequence[int]] = {}
        if options is not None:
            for name, field in INTEGERS.get(operator, {}).items():
                integers[name] = (options.number(field, "b" if name in BYTES else "i", _DEFAULTS.get(name, 0)),)
            for name, field in LISTS.get(operator, {}).items():
                integers[name] = options.numbers(field, "i", MAX_AXES)
        dtypes = [self._tensors[index].spec.dtype for index in results if 0 <= index < len(self._tensors)]
        reads = [_key(index) if index != -1 else None for index in sources]
        return Step(operator, reads, [_key(index) for index in results], integers, dtypes=dtypes)

    def needs(self, inputs: Mapping[str, str], outputs: Mapping[str, str], images: Shape) -> Needs:
        """Work out what a run on images of that shape takes; see :class:`ModelFacts`.

        Args:
            inputs: Our keys of the inputs, by their names in the signature.
            outputs: Our keys of the outputs, by their names in the signature; two may name one tensor.
            images: Shape of the images, (N, H, W, 3).
        """
        (image,) = inputs.values()
        constants = {
            _key(index): Value(
                tuple(extent or 0 for extent in tensor.spec.shape or ()), tensor.spec.dtype, tensor.values
            )
            for index, tensor in enumerate(self._tensors)
            if tensor.constant or 0 in (tensor.spec.shape or ())
        }
        found = work_out(self._steps, constants, (image, Value(images)), list(outputs.values()), RULES, SIZES)
        return found._replace(shapes={name: found.shapes[key] for name, key in outputs.items()})

    def _check_options(self, operator: str, table: Table) -> None:
        needed, options = OPTIONS.get(operator), table.table(4)
        if needed is None:
            return
        if options is None or table.number(3, "B") != needed.kind:
            raise damaged(f"{operator} has options of another operator")
        for field, bounds in needed.bounds.items():
            value = options.number(field, "i", needed.default.get(field, 0))
            require_range(f"an option of {operator}", [value], bounds.least, bounds.most)


def _key(index: int) -> str:
    """Return the key of a tensor while sizes are worked out: names in the file need not be unique."""
    return f"tensor {index}"


_DEFAULTS: Mapping[str, int] = {"apart across": 1, "apart down": 1}
"""Values of missing options, where they are not 0."""


def _signature(model: Table, graph: Table, tensors: list[_Tensor], side: int) -> list[tuple[Declared, int]]:
    """Return the inputs (side 0) or outputs (side 1) by the signature's names; it must cover all of the subgraph's."""
    signatures = model.tables(7, MAX_NODES)
    if len(signatures) != 1 or signatures[0].number(4, "I"):
        raise forbidden(f"{len(signatures)} signatures", "1")
    indices = graph.numbers(1 + side, "i", _MAX_PORTS)
    found: list[tuple[Declared, int]] = []
    for entry in signatures[0].tables(side, _MAX_PORTS):
        index = entry.number(1, "I")
        if index not in indices:
            raise damaged(f"the signature names tensor {index}, which is neither an input nor an output")
        spec = tensors[index].spec
        found.append((Declared(entry.text(0), spec.dtype, spec.shape), index))
    if len({spec.name for spec, _ in found}) != len(found) or len(found) != len(indices):
        raise damaged("the signature does not name every input and output once")
    return found


def _facts(data: bytes, model: Table, buffers: list[tuple[int, int]]) -> str | None:
    found: list[str] = []
    for entry in model.tables(6, MAX_ENTRIES):
        buffer = entry.number(1, "I")
        if buffer >= len(buffers):
            raise damaged(f"there is no buffer {buffer}")
        if entry.text(0) == METADATA_KEY:
            start, length = buffers[buffer]
            found.append(facts_text(data, start, start + length))
    if len(found) > 1:
        raise damaged(f"two metadata entries '{METADATA_KEY}'")
    return found[0] if found else None
