"""Sort the nodes so that the same graph always has the same order, in whatever order tf2onnx wrote them."""

from __future__ import annotations

import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sort nodes by the outputs that need them, producers before consumers; the outputs' own Transposes come last.

    A Transpose that something else reads, too, as where two outputs are the same, stays before its readers. Nodes and
    initializers that no output needs are removed.
    """
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output}
    outputs = [output.name for output in graph.output]
    order: dict[int, None] = {}
    stack = [maker[name] for name in reversed(outputs)]
    while stack:
        index = stack[-1]
        waiting = [maker[name] for name in graph.node[index].input if name in maker and maker[name] not in order]
        if waiting and index not in order:
            stack.extend(reversed(waiting))
        else:
            order.setdefault(stack.pop(), None)
    nodes = [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
    last = {*outputs} - {name for node in nodes for name in node.input}
    nodes.sort(key=lambda node: node.op_type == "Transpose" and node.output[0] in last)
    del graph.node[:]
    graph.node.extend(nodes)
    _sort_initializers(graph)


def _sort_initializers(graph: onnx.GraphProto) -> None:
    by_name = {tensor.name: tensor for tensor in graph.initializer}
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in by_name)
    kept = [onnx.TensorProto.FromString(by_name[name].SerializeToString()) for name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
