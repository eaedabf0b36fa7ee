"""Add what all our TFLite files have, names, a signature and the card's facts, by editing the flatbuffer itself."""
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from fmedge.export.tflite.graph import IDENTIFIER
from fmedge.export.tflite.schema import schema
from fmedge.model.card import METADATA_KEY, ModelCard

_Table = Any
"""A table of the flatbuffer as an object."""

SIGNATURE = "serving_default"


def finish(model: bytes, card: ModelCard, layers: Sequence[str]) -> bytes:
    """Name the tensors, add a signature and the card's facts: the same model always gives the same bytes.

    Args:
        model: The file as the converter wrote it, with its outputs in the card's order.
        card: Its facts are added to the file.
        layers: Names of the layers; tensors in the scope ``layer_n`` belong to the n-th.
    """
    content: _Table = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    graph = content.subgraphs[0]
    _name_tensors(graph, card, layers)
    content.description = f"fmedge {card.submodel.label}".encode()
    content.signatureDefs = [_signature(graph, card)]
    content.metadata = [entry for entry in content.metadata or [] if entry.name != METADATA_KEY.encode()]
    facts = schema.BufferT()
    facts.data = np.frombuffer(card.facts_json().encode(), np.uint8)
    content.buffers.append(facts)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_KEY.encode(), len(content.buffers) - 1
    content.metadata.append(entry)
    builder = flatbuffers.Builder(len(model) + (1 << 16))
    builder.Finish(content.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _name_tensors(graph: _Table, card: ModelCard, layers: Sequence[str]) -> None:
    """Name input and outputs as in the card, inner tensors after their layers, with a number if there are several."""
    graph.name = b"main"
    wanted = dict(zip([*graph.inputs, *graph.outputs], [card.inputs[0].name, *card.submodel.taps], strict=True))
    taken = set(wanted.values())
    for index, tensor in enumerate(graph.tensors):
        name = wanted.get(index) or _free_name(_inner_name(tensor.name.decode(), layers), taken)
        taken.add(name)
        tensor.name = name.encode()


def _inner_name(name: str, layers: Sequence[str]) -> str:
    """Turn ``layer_3/bias;layer_3/Conv2D`` into ``block2_conv1/bias``: of fused names the first one is enough."""
    first, _, rest = name.split(";")[0].partition("/")
    number = first.removeprefix("layer_")
    if first.startswith("layer_") and number.isdecimal() and int(number) < len(layers):
        return f"{layers[int(number)]}/{rest}"
    return first if not rest else f"{first}/{rest}"


def _free_name(name: str, taken: set[str]) -> str:
    candidates = [name, *(f"{name}_{number}" for number in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _signature(graph: _Table, card: ModelCard) -> _Table:
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE.encode()
    signature.subgraphIndex = 0
    signature.inputs = [_tensor_map(card.inputs[0].name, graph.inputs[0])]
    signature.outputs = [
        _tensor_map(name, index) for name, index in zip(card.submodel.taps, graph.outputs, strict=True)
    ]
    return signature


def _tensor_map(name: str, index: int) -> _Table:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry
