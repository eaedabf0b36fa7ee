"""The gate for ONNX models: read and check a file, from its bytes alone, before an engine gets it.

Field numbers are those of onnx.proto (ONNX 1.18). Nesting is limited: graphs inside operators are refused, so the
deepest path is model, graph, node, attribute, tensor.
"""

from __future__ import annotations

import struct
from math import prod

from fmedge.model.card import METADATA_KEY
from fmedge.runtime.gate.bounds import (
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
    require_count,
    require_range,
    require_shape,
)
from fmedge.runtime.gate.onnx_operators import ATTRIBUTES, OPERATORS, OTHER, SIZES
from fmedge.runtime.gate.onnx_relu_count import onnx_way
from fmedge.runtime.gate.onnx_shapes import DTYPES, RULES
from fmedge.runtime.gate.protobuf import FIXED32, FIXED64, SPAN, VARINT, Fields, Message, Reader, spans
from fmedge.runtime.gate.relu_count import IMAGE, Way
from fmedge.runtime.gate.shapes import MAX_KNOWN, MAX_KNOWN_FLOATS, Step, Value, work_out

MODEL = Message(
    "the model",
    once={1: VARINT, 2: SPAN, 3: SPAN, 4: SPAN, 5: VARINT, 6: SPAN, 7: SPAN},
    many={8: SPAN, 14: SPAN},
    refused={20: "training steps", 25: "functions of its own", 26: "a plan for several devices"},
)
_OPSET = Message("an opset", once={1: SPAN, 2: VARINT})
_ENTRY = Message("a metadata entry", once={1: SPAN, 2: SPAN})
GRAPH = Message(
    "the graph",
    once={2: SPAN, 10: SPAN},
    many={1: SPAN, 5: SPAN, 11: SPAN, 12: SPAN, 13: SPAN, 16: SPAN},
    refused={14: "quantization annotations", 15: "sparse constants"},
)
NODE = Message(
    "a node",
    once={3: SPAN, 4: SPAN, 6: SPAN, 7: SPAN},
    many={1: SPAN, 2: SPAN, 5: SPAN, 9: SPAN},
    refused={8: "a call of a function", 10: "a plan for several devices"},
)
_ATTRIBUTE = Message(
    "an attribute",
    once={1: SPAN, 2: FIXED32, 3: VARINT, 4: SPAN, 5: SPAN, 13: SPAN, 20: VARINT},
    many={7: FIXED32, 8: VARINT, 9: SPAN},
    packed=frozenset({7, 8}),
    refused={
        6: "a graph inside an operator",
        10: "a list of tensors in an attribute",
        11: "graphs inside an operator",
        14: "a type in an attribute",
        15: "types in an attribute",
        21: "an attribute of a function",
        22: "a sparse constant",
        23: "sparse constants",
    },
)
TENSOR = Message(
    "a constant",
    once={2: VARINT, 8: SPAN, 9: SPAN, 12: SPAN, 14: VARINT},
    many={1: VARINT, 4: FIXED32, 5: VARINT, 7: VARINT, 10: FIXED64, 11: VARINT, 16: SPAN},
    packed=frozenset({1, 4, 5, 7, 10, 11}),
    refused={3: "a part of a constant", 6: "text", 13: "constants in another file"},
)
VALUE = Message("an input or output", once={1: SPAN, 2: SPAN, 3: SPAN}, many={4: SPAN})
_TYPE = Message(
    "a type",
    once={1: SPAN, 6: SPAN},
    refused={4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "an optional value", 7: "an opaque type"},
)
_TENSOR_TYPE = Message("a tensor's type", once={1: VARINT, 2: SPAN})
_SHAPE = Message("a shape", once={}, many={1: SPAN})
_EXTENT = Message("an extent", once={1: VARINT, 2: SPAN, 3: SPAN})

RAW = 9
_MAX_OPTIONS = 64
"""Most numbers in an option: two per axis are enough."""


def inspect_onnx(data: bytes) -> ModelFacts:
    """Read an ONNX file and check that it contains only what fmedge runs.

    Args:
        data: The file's content: the very bytes that an engine will get.

    Raises:
        ArtifactError: It is malformed, or contains something else; without the file's name.
        LimitExceeded: It exceeds a limit; without the file's name.
    """
    reader = Reader(data)
    model = reader.read(MODEL, 0, len(data))
    if 7 not in model or not model.get(1) or not model.get(8):
        raise damaged("not an ONNX model")
    for start, end in spans(model, 8):
        reader.read(_OPSET, start, end)
    graph = _Graph(reader, reader.read(GRAPH, *model[7]))
    graph.check()
    return ModelFacts(graph.inputs, graph.outputs, _facts(reader, model), graph.ways, graph.needs)


def _facts(reader: Reader, model: Fields) -> str | None:
    found: list[str] = []
    require_count("entries of metadata", len(model.get(14, ())) // 2, MAX_ENTRIES)
    for start, end in spans(model, 14):
        entry = reader.read(_ENTRY, start, end)
        if reader.text(entry, 1) == METADATA_KEY and 2 in entry:
            found.append(facts_text(reader.data, *entry[2]))
    if len(found) > 1:
        raise damaged(f"two metadata entries '{METADATA_KEY}'")
    return found[0] if found else None


class _Graph:
    """The graph while it is checked.

    Attributes:
        inputs: The inputs that must be fed: those that are not constants.
        outputs: The outputs.
        ways: For each value that is not a constant what happens on the way from the image.
    """

    def __init__(self, reader: Reader, graph: Fields) -> None:
        self._reader = reader
        self._graph = graph
        self._constants: dict[str, Value] = {}
        self._steps: list[Step] = []
        self._lowest: set[str] = set()
        self._known: set[str] = set()
        self.ways: dict[str, Way] = {}
        self.inputs: tuple[Declared, ...] = ()
        self.outputs: tuple[Declared, ...] = ()

    def check(self) -> None:
        """Read everything; see :func:`inspect_onnx`."""
        graph = self._graph
        require_count("operators", len(graph.get(1, ())) // 2, MAX_NODES)
        for number in (5, 11, 12, 13):
            require_count("tensors", len(graph.get(number, ())) // 2, MAX_TENSORS)
        for start, end in spans(graph, 5):
            name, value = self._tensor(start, end)
            self._define(name)
            self._constants[name] = value
        self.inputs = tuple(spec for spec in self._declared(11) if spec.name not in self._constants)
        for spec in self.inputs:
            self._define(spec.name)
            self.ways[spec.name] = IMAGE
        for start, end in spans(graph, 1):
            self._node(start, end)
        self._declared(13)
        self.outputs = tuple(self._declared(12))
        for spec in self.outputs:
            if spec.name not in self._known:
                raise damaged(f"nothing computes the output '{spec.name}'")

    def needs(self, images: Shape) -> Needs:
        """Work out what a run on images of that shape takes; see :class:`ModelFacts`."""
        (image,) = self.inputs
        outputs = [spec.name for spec in self.outputs]
        return work_out(self._steps, self._constants, (image.name, Value(images, image.dtype)), outputs, RULES, SIZES)

    def _define(self, name: str) -> None:
        if not name or name in self._known:
            raise damaged(f"two values are called '{name}'")
        self._known.add(name)

    def _declared(self, number: int) -> list[Declared]:
        return [self._value(start, end) for start, end in spans(self._graph, number)]

    def _value(self, start: int, end: int) -> Declared:
        reader = self._reader
        value = reader.read(VALUE, start, end)
        name = reader.text(value, 1)
        kind = reader.read(_TYPE, *value.get(2, (0, 0)))
        tensor = reader.read(_TENSOR_TYPE, *kind.get(1, (0, 0)))
        shape: list[int | None] = []
        for first, last in spans(reader.read(_SHAPE, *tensor.get(2, (0, 0))), 1):
            extent = reader.read(_EXTENT, first, last)
            shape.append(extent[1][0] if 1 in extent else None)
        dtype, size, _ = _dtype(name, tensor.get(1, [0])[0])
        require_shape(name, shape, 8 * size)
        return Declared(name, dtype, tuple(shape))

    def _node(self, start: int, end: int) -> None:
        reader = self._reader
        node = reader.read(NODE, start, end)
        operator, domain = reader.text(node, 4), reader.text(node, 7)
        if domain not in ("", "ai.onnx"):
            raise forbidden(f"the operator '{operator}' of '{domain}'", "ONNX's own operators")
        if operator not in OPERATORS:
            raise forbidden(f"the operator '{operator}'", "those of convolutional networks, see docs/models.md")
        inputs = [reader.name(*span) for span in spans(node, 1)]
        for name in inputs:
            if name and name not in self._known:
                raise damaged(f"{operator} reads '{name}', which nothing before it computes")
        results = [reader.name(*span) for span in spans(node, 2)]
        way = onnx_way(operator, inputs, self.ways, self._constants, self._lowest)
        for name in filter(None, results):
            self._define(name)
            if way is not None:
                self.ways[name] = way
        if operator == "Constant":
            self._constants[results[0]] = self._constant(node)
            return
        options = [self._option(operator, *span) for span in spans(node, 5)]
        integers = {name: found for name, found, _ in options if found}
        words = {name: word for name, _, word in options if word}
        self._steps.append(Step(operator, inputs, results, integers, words))

    def _constant(self, node: Fields) -> Value:
        """Read the value of a Constant operator."""
        (span,) = spans(node, 5) or [(0, 0)]
        attribute = self._reader.read(_ATTRIBUTE, *span)
        if 5 in attribute:
            return self._tensor(*attribute[5])[1]
        integers = attribute.get(3, []) + attribute.get(8, [])
        if not integers:
            raise forbidden("a Constant of another kind", "tensors and whole numbers")
        return Value((len(integers),) if 8 in attribute else (), "int64", tuple(map(float, integers)))

    def _option(self, operator: str, start: int, end: int) -> tuple[str, list[int], str]:
        """Check an attribute; return its name, its integers and its text."""
        reader = self._reader
        attribute = reader.read(_ATTRIBUTE, start, end)
        name = reader.text(attribute, 1)
        integers = attribute.get(3, []) + attribute.get(8, [])
        require_count(f"values in '{name}' of {operator}", len(integers), _MAX_OPTIONS)
        bounds = ATTRIBUTES.get(name, OTHER)
        require_range(f"'{name}' of {operator}", integers, bounds.least, bounds.most)
        if 5 in attribute:
            self._tensor(*attribute[5])
        return name, integers, reader.text(attribute, 4)

    def _tensor(self, start: int, end: int) -> tuple[str, Value]:
        """Check that a constant is as long as its shape says; return its name, and what is known of it."""
        reader = self._reader
        tensor = reader.read(TENSOR, start, end)
        name = reader.text(tensor, 8)
        if tensor.get(14, [0]) != [0]:
            raise forbidden(f"'{name}', a constant in another file", "constants inside the file")
        shape = tensor.get(1, [])
        dtype, size, field = _dtype(name, tensor.get(2, [0])[0])
        length = require_shape(name, shape, 8 * size)
        _require_length(name, tensor, field, length, size)
        count = prod(shape)
        if dtype in _LOWEST and count <= _MAX_ZERO_POINTS and self._is_lowest(tensor, _LOWEST[dtype]):
            self._lowest.add(name)
        return name, Value(tuple(shape), dtype, self._numbers(tensor, dtype, field, count))

    def _numbers(self, tensor: Fields, dtype: str, field: int, count: int) -> tuple[float, ...] | None:
        """Return the values of a small constant; None where there are many, or of a type that states no sizes."""
        data, letter = self._reader.data, _SMALL.get(dtype)
        if letter is None or count > (MAX_KNOWN_FLOATS if letter == "f" else MAX_KNOWN):
            return None
        if RAW in tensor:
            return struct.unpack_from(f"<{count}{letter}", data, tensor[RAW][0])
        stored = tensor.get(field, [])
        if field == 4:
            return tuple(struct.unpack_from("<f", data, position)[0] for position in stored[::2])
        return tuple(stored)

    def _is_lowest(self, tensor: Fields, lowest: int) -> bool:
        """Return whether an 8-bit constant contains only the lowest number of its type."""
        if RAW in tensor:
            start, end = tensor[RAW]
            return self._reader.data.count(lowest % 256, start, end) == end - start
        return all(value == lowest for value in tensor.get(5, ()))


_SMALL = {"float32": "f", "int32": "i", "int64": "q"}
"""Types whose small constants may state sizes, and their letters in the struct module."""

_LOWEST = {"uint8": 0, "int8": -128}
"""Types of codes, and their lowest number: a zero point there leaves no codes for values below zero."""

_MAX_ZERO_POINTS = 1 << 12
"""Most zero points of a tensor: at most one per channel. Larger constants are weights."""


def _require_length(name: str, tensor: Fields, field: int, length: int, size: int) -> None:
    """Check that all values of a constant are present: raw, or in the one field of their type."""
    stored = [number for number in (4, 5, 7, 10, 11) if tensor.get(number)]
    if RAW in tensor:
        start, end = tensor[RAW]
        if end - start != length or stored:
            raise damaged(f"'{name}' holds {end - start:,} bytes where its shape says {length:,}")
        return
    pairs = 2 if field in (4, 10) else 1
    found = len(tensor.get(field, ())) // pairs * size
    if found != length or any(number != field for number in stored):
        raise damaged(f"'{name}' holds {found:,} bytes where its shape says {length:,}")


def _dtype(name: str, number: int) -> tuple[str, int, int]:
    if number not in DTYPES:
        allowed = ", ".join(known for known, _, _ in DTYPES.values())
        raise forbidden(f"'{name}' of ONNX type {number}", allowed)
    return DTYPES[number]
