"""What all our ONNX files have: declared shapes, a declared layout, and the card's facts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from fmedge.model.card import METADATA_KEY, ModelCard, TensorSpec

OPSET = 17
IR_VERSION = 8
"""Opset and file version of ONNX 1.12 (2022): old enough for the engines on long-lived boards."""

_OPEN = {"N": "batch", "H": "height", "W": "width"}


def value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    """Declare an input or output for ONNX; open extents are named batch, height and width.

    An output's open height and width differ from the input's, so their names also contain the output's name.
    """
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    shape: list[int | str] = []
    for axis, extent in zip(spec.layout, spec.shape, strict=True):
        name = _OPEN.get(axis, axis)
        own = name if spec.name == "image" or axis == "N" else f"{spec.name}_{name}"
        shape.append(own if extent is None else extent)
    return helper.make_tensor_value_info(spec.name, dtype, shape)


def output_transposes(nodes: Sequence[onnx.NodeProto], card: ModelCard) -> list[onnx.NodeProto]:
    """If the card declares NHWC, rename the taps' tensors in the nodes and return the Transposes that make the taps."""
    if card.options.layout == "NCHW":
        return []
    inner = {name: f"{name}_nchw" for name in card.submodel.taps}
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [inner.get(name, name) for name in names]
    return [
        helper.make_node("Transpose", [source], [name], f"{name}_nhwc", perm=[0, 2, 3, 1])
        for name, source in inner.items()
    ]


def make_model(
    card: ModelCard, nodes: Sequence[onnx.NodeProto], initializers: Sequence[TensorProto]
) -> onnx.ModelProto:
    """Make a model with the card's inputs and outputs, not yet checked and without the card's facts."""
    graph = helper.make_graph(
        nodes,
        f"{card.submodel.source}_{card.submodel.label}",
        [value_info(spec) for spec in card.inputs],
        [value_info(spec) for spec in card.outputs],
        initializers,
    )
    return helper.make_model(
        graph,
        producer_name="fmedge",
        producer_version=card.tools["fmedge"],
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


_ALIGNMENT = 64
"""The values of a large constant start at a multiple of this many bytes in the file: a cache line."""

_LARGE = 1 << 12
"""Constants of this many bytes or more are aligned."""


_ROUNDS = 4
"""Padding may lengthen the length fields before it, which takes another round; two have nearly always been enough."""


def _write_aligned(model: onnx.ModelProto) -> bytes:
    """Serialise a model with its large constants aligned, so that an engine can use them in place.

    The padding is the doc string of the preceding constant, which comes after that constant's values: 64 to 127 spaces.
    Where values start is reckoned beforehand, since writing a large model takes a tenth of a second.
    """
    constants = model.graph.initializer
    lengths = {constant.name: len(constant.raw_data) for constant in constants}
    large = [pair for pair in itertools.pairwise(constants) if lengths[pair[1].name] >= _LARGE]
    for before, _ in large:
        before.doc_string = " " * _ALIGNMENT
    for _ in range(_ROUNDS):
        places, shift, changed = _reckoned(model, lengths), 0, False
        for before, constant in large:
            old = len(before.doc_string)
            new = _ALIGNMENT + (old - places[constant.name] - shift) % _ALIGNMENT
            before.doc_string = " " * new
            shift, changed = shift + new - old, changed or new != old
        if not changed:
            break
    return model.SerializeToString(deterministic=True)


def _reckoned(model: onnx.ModelProto, lengths: Mapping[str, int]) -> dict[str, int]:
    """Reckon where the values of each constant, of these lengths, start in the file ("Protocol Buffers Encoding")."""
    before = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.number < onnx.ModelProto.GRAPH_FIELD_NUMBER:
            setattr(before, field.name, value)
    graph = model.graph
    sizes = [
        _without_values(constant).ByteSize() + _field_size(lengths[constant.name])
        if lengths[constant.name]
        else constant.ByteSize()
        for constant in graph.initializer
    ]
    start = onnx.GraphProto(name=graph.name, node=graph.node)
    rest = onnx.GraphProto(input=graph.input, output=graph.output, value_info=graph.value_info)
    whole = start.ByteSize() + sum(map(_field_size, sizes)) + rest.ByteSize()
    position = before.ByteSize() + _field_size(whole) - whole + start.ByteSize()
    places = dict[str, int]()
    for constant, size in zip(graph.initializer, sizes, strict=True):
        end = position + _field_size(size)
        doc = _field_size(len(constant.doc_string)) if constant.doc_string else 0
        places[constant.name] = end - doc - lengths[constant.name]
        position = end
    return places


def _without_values(constant: TensorProto) -> TensorProto:
    head = TensorProto(dims=constant.dims, data_type=constant.data_type, name=constant.name)
    if constant.doc_string:
        head.doc_string = constant.doc_string
    return head


def _field_size(size: int) -> int:
    """Return the bytes of a field of protobuf that holds so many: a tag of one byte and the length before them."""
    return 1 + max(1, -(-size.bit_length() // 7)) + size


def finish(model: onnx.ModelProto, card: ModelCard) -> bytes:
    """Add the card's facts, check the model and serialise it: the same model always gives the same bytes."""
    helper.set_model_props(model, {METADATA_KEY: card.facts_json()})
    content = _write_aligned(model)
    onnx.checker.check_model(content)  # pyright: ignore[reportUnknownMemberType]
    return content
