"""Read an ONNX file that somebody else wrote, with nothing of it run and nothing outside its folder read."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import stat
from math import prod
from pathlib import Path
from typing import cast

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto, external_data_helper, helper, numpy_helper

from fmedge.errors import LimitExceeded, WeightsError
from fmedge.model.weights import MAX_FILE_BYTES

OLDEST_OPSET = 7
"""The first opset in which operators broadcast as they do today (ONNX 1.2, 2018)."""

MAX_NODES = 10_000
"""Most operators of a network: EfficientNet-B7 has 2,100 when PyTorch exports it."""

_MAX_NAME = 1 << 10
_OWN_DOMAINS = ("", "ai.onnx")


def read_onnx(path: Path) -> ModelProto:
    """Read an ONNX network with its weights.

    Args:
        path: The file; weights in other files are read where these lie in its folder.

    Returns:
        The network; constants that were operators are initializers.

    Raises:
        WeightsError: There is no such file, it is no ONNX model, or its weights lie elsewhere.
        LimitExceeded: It is too large.
    """
    model = parse(path, _content(path))
    _read_external_data(path, model)
    _require_whole(path, model.graph)
    return model


def parse_whole(name: Path | str, content: bytes) -> ModelProto:
    """Parse the content of an ONNX file that has its weights inside.

    Raises:
        WeightsError: It is no ONNX model, or some of its weights lie elsewhere.
        LimitExceeded: It has too many operators.
    """
    model = parse(name, content)
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise WeightsError(f"The weights of '{name}' lie in other files. Give its path, or load them first.")
    _require_whole(name, model.graph)
    return model


def parse(name: Path | str, content: bytes) -> ModelProto:
    """Parse the content of an ONNX file; weights in other files are not read.

    Raises:
        WeightsError: It is no ONNX model.
        LimitExceeded: It has too many operators.
    """
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise WeightsError(f"'{name}' is not an ONNX model, or damaged.") from error
    graph = model.graph
    if not graph.node or not graph.output:
        raise WeightsError(f"'{name}' is not an ONNX model: it has no operators, or no outputs.")
    if len(graph.node) > MAX_NODES:
        raise LimitExceeded(f"'{name}' has {len(graph.node):,} operators. Allowed: {MAX_NODES:,}.")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset_of(model) <= newest:
        raise WeightsError(
            f"'{name}' is written in opset {opset_of(model)}. Allowed: {OLDEST_OPSET} to {newest}.",
            hint="Export it again with such an opset.",
        )
    _require_names(name, model)
    if graph.sparse_initializer:
        raise WeightsError(f"'{name}' has sparse weights. Allowed: dense ones.")
    del graph.quantization_annotation[:]  # remarks for tools
    _replace_constants(graph)
    return model


def _require_names(name: Path | str, model: ModelProto) -> None:
    """Check that names are short texts: protobuf gives bytes for what is none."""
    graph = model.graph
    entries = (*graph.initializer, *graph.input, *graph.output)
    names = [entry.name for entry in entries] + [entry.domain for entry in model.opset_import]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
        names += [text for entry in node.metadata_props for text in (entry.key, entry.value)]
    if not all(isinstance(text, str) for text in cast("list[object]", names)):
        raise WeightsError(f"'{name}' is damaged: it has names that are no text.")
    if any(len(text) > _MAX_NAME for text in names):
        raise LimitExceeded(f"'{name}' has names of more than {_MAX_NAME:,} letters.")


def _require_whole(name: Path | str, graph: onnx.GraphProto) -> None:
    """Check that every constant has as many values as it says.

    Raises:
        WeightsError: One has not, or is of an unknown type.
    """
    for tensor in graph.initializer:
        try:
            count = prod(tensor.dims) if min(tensor.dims, default=0) >= 0 else -1
            if tensor.HasField("raw_data"):
                fits = count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize == len(tensor.raw_data)
            else:
                fits = count >= 0 and numpy_helper.to_array(tensor).size == count
        except (ValueError, TypeError, KeyError, OverflowError):
            fits = False
        if not fits:
            raise WeightsError(f"'{name}' is damaged: '{tensor.name[:60]}' has other values than it says.")


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators that a model uses; 0 if it does not say."""
    return max((entry.version for entry in model.opset_import if entry.domain in _OWN_DOMAINS), default=0)


def obstacle_of_node(node: onnx.NodeProto) -> str | None:
    """Return why a network cannot be cut after this operator; None if it can."""
    kind = f"'{node.name or node.output[0]}' ({node.op_type})"
    if node.domain not in _OWN_DOMAINS:
        return f"{kind} is a custom operator of {node.domain}"
    if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
        return f"{kind} contains a graph of its own"
    if not onnx.defs.has(node.op_type):
        return f"{kind} is not an operator of ONNX"
    return None


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(f"'{path}' is not a regular file. Allowed: an .onnx file.")
        if status.st_size > MAX_FILE_BYTES:
            raise LimitExceeded(f"'{path}' has {status.st_size:,} bytes. Allowed: {MAX_FILE_BYTES:,}.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise WeightsError(f"No ONNX model '{path}'. Allowed: an .onnx file.") from error


def _read_external_data(path: Path, model: ModelProto) -> None:
    """Read weights from other files in the model's folder.

    Raises:
        WeightsError: One is missing, damaged, or not in that folder.
        LimitExceeded: They are too large.
    """
    folder = path.parent.resolve()
    left = MAX_FILE_BYTES
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        place = (folder / entries.get("location", "")).resolve()
        if folder not in place.parents or not place.is_file():
            raise WeightsError(f"'{path}' keeps '{tensor.name}' in '{place.name}', which is not in its folder.")
        left -= place.stat().st_size if "length" not in entries else _whole(entries["length"])
        if left < 0:
            raise LimitExceeded(f"The weights of '{path}' take more than {MAX_FILE_BYTES:,} bytes.")
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise WeightsError(f"'{tensor.name}' of '{path}' cannot be read from '{place.name}'.") from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else MAX_FILE_BYTES + 1


_VALUES = ("value_float", "value_floats", "value_int", "value_ints")


def _replace_constants(graph: onnx.GraphProto) -> None:
    """Turn operators that only give a constant into initializers."""
    kept = list[onnx.NodeProto]()
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type != "Constant" or node.domain not in _OWN_DOMAINS or len(attributes) != 1:
            kept.append(node)
        elif "value" in attributes:
            tensor = graph.initializer.add()
            tensor.CopyFrom(attributes["value"].t)
            tensor.name = node.output[0]
        elif found := [attribute for name, attribute in attributes.items() if name in _VALUES]:
            value = np.array(helper.get_attribute_value(found[0]))
            value = value.astype("float32" if value.dtype.kind == "f" else "int64")
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
