"""Give nodes, tensors and constants meaningful names that are the same in every conversion."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import onnx

_ROLES = {"Conv": ("", "kernel", "bias"), "Sub": ("", "mean")}
"""Names for the constant inputs of an operator."""


def name_everything(graph: onnx.GraphProto, taps: Sequence[str], layers: Sequence[str], image: str = "image") -> None:
    """Name nodes, tensors and constants after the layers they come from.

    A layer's first node gets the layer's name; for the others the operator is appended: ``block1_conv1``,
    ``block1_conv1_relu``. For tensors it is the reverse: a layer's last tensor gets the layer's name. An output gets
    the name of its tap.

    Args:
        graph: Its nodes are in order; its input is the image.
        taps: Names of the outputs, in order.
        layers: Names of the layers; operations in the scope ``layer_n`` belong to the n-th.
        image: Name of the input.
    """
    owners = [_owner(node, layers) for node in graph.node]
    tensors = _tensor_names(graph, taps, owners, image)
    taken: set[str] = set()
    for node, owner, names in zip(graph.node, owners, _node_names(graph, taps, owners), strict=True):
        node.name = _first_free(names, taken)
        for field in ("doc_string", "domain"):
            if not getattr(node, field):
                node.ClearField(field)  # an empty string that was set would be serialised too
        _name_constants(graph, node, owner or node.name, tensors)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [tensors.get(name, name) for name in names]
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.name = tensors[named.name]


def _owner(node: onnx.NodeProto, layers: Sequence[str]) -> str | None:
    """Return the layer that a node comes from; for a convolution, the layer of its kernel."""
    sources = [node.input[1], node.name] if node.op_type == "Conv" else [node.name]
    for source in sources:
        found = re.match(r"layer_(\d+)/", source)
        if found:
            return layers[int(found[1])]
    return None


def _tensor_names(
    graph: onnx.GraphProto, taps: Sequence[str], owners: Sequence[str | None], image: str
) -> dict[str, str]:
    names = {graph.input[0].name: image}
    names.update({output.name: tap for output, tap in zip(graph.output, taps, strict=True)})
    for node in graph.node:
        if node.op_type == "Transpose" and node.output[0] in names:
            names.setdefault(node.input[0], f"{names[node.output[0]]}_nchw")
    taken = set(names.values())
    last = {owner: index for index, owner in enumerate(owners)}
    for index, (node, owner) in enumerate(zip(graph.node, owners, strict=True)):
        base = owner or _plain(node)
        wish = [base] if owner is None or last[owner] == index else []
        for output in node.output:
            if output not in names:
                names[output] = _first_free([*wish, f"{base}_{node.op_type.lower()}"], taken)
    return names


def _node_names(graph: onnx.GraphProto, taps: Sequence[str], owners: Sequence[str | None]) -> Iterable[list[str]]:
    outputs = {output.name: tap for output, tap in zip(graph.output, taps, strict=True)}
    seen: set[str] = set()
    for node, owner in zip(graph.node, owners, strict=True):
        if node.op_type == "Transpose" and node.output[0] in outputs:
            yield [f"{outputs[node.output[0]]}_nhwc"]
        elif owner is None:
            yield [_plain(node)]
        else:
            yield [f"{owner}_{node.op_type.lower()}"] if owner in seen else [owner, f"{owner}_{node.op_type.lower()}"]
            seen.add(owner)


def _name_constants(graph: onnx.GraphProto, node: onnx.NodeProto, base: str, names: dict[str, str]) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    taken = set(names.values())
    for index, name in enumerate(node.input):
        if name in constants and name not in names:
            roles = _ROLES.get(node.op_type, ())
            role = roles[index] if index < len(roles) else f"{node.op_type.lower()}_{index}"
            wish = "mean_rgb" if name.startswith("mean_rgb") else f"{base}_{role}"
            names[name] = _first_free([wish], taken)


def _plain(node: onnx.NodeProto) -> str:
    """Return the name of a preprocessing node."""
    if node.op_type == "Transpose":
        return "image_nchw"
    return {"Cast": "image_float", "Sub": "pixels"}.get(node.op_type, node.op_type.lower())


def _first_free(matrix: Sequence[str], taken: set[str]) -> str:
    candidates = [*matrix, *(f"{matrix[-1]}_{number}" for number in range(2, len(taken) + 3))]
    name = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(name)
    return name
