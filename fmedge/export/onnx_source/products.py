"""Count the multiplications of an ONNX operator."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from onnx import NodeProto

from fmedge.export.onnx_source.folding import Shape
from fmedge.export.onnx_source.graph import OnnxGraph


def multiplications(graph: OnnxGraph, node: NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Return the multiply-accumulate operations of an operator for one image; None if a size is open."""
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm") or len(node.input) < 2:
        return 0
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    if before is None or after is None or None in before or None in after:
        return None
    entering, leaving = [extent or 0 for extent in before], [extent or 0 for extent in after]
    if node.op_type in ("MatMul", "Gemm"):
        return prod(leaving) * entering[-1]
    kernel = list(graph.constants[node.input[1]].dims) if node.input[1] in graph.constants else None
    if kernel is None:
        return None
    return prod(entering if node.op_type == "ConvTranspose" else leaving) * prod(kernel[1:])
