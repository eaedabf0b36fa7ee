"""Remove the attributes that tf2onnx writes although they hold ONNX' default."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

_DEFAULTS: dict[tuple[str, str], Any] = {
    ("Conv", "dilations"): [1, 1],
    ("Conv", "strides"): [1, 1],
    ("Conv", "group"): 1,
    ("Conv", "auto_pad"): b"NOTSET",
    ("MaxPool", "auto_pad"): b"NOTSET",
    ("AveragePool", "auto_pad"): b"NOTSET",
}


def drop_default_attributes(graph: onnx.GraphProto) -> None:
    """Remove attributes of convolutions and pools that hold the default, and sort the remaining ones by name."""
    for node in graph.node:
        kept = sorted(
            (attribute for attribute in node.attribute if not _is_default(node, attribute)),
            key=lambda attribute: attribute.name,
        )
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_default(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> bool:
    key = node.op_type, attribute.name
    if key not in _DEFAULTS:
        return False
    value: Any = helper.get_attribute_value(attribute)
    return (list(value) if isinstance(_DEFAULTS[key], list) else value) == _DEFAULTS[key]
