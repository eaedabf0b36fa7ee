"""tf2onnx leaves the padding of images of open size to the engine (``SAME_UPPER``); at stride 1 it can be said."""

from __future__ import annotations

import onnx
from onnx import helper


def spell_out_padding(graph: onnx.GraphProto) -> None:
    """Give convolutions of stride 1 the padding that ``SAME_UPPER`` means, in pixels."""
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        same = node.op_type == "Conv" and attributes.get("auto_pad") == b"SAME_UPPER"
        if not same or any(stride != 1 for stride in attributes.get("strides", [1])):
            continue
        extents = attributes["kernel_shape"]
        dilations = attributes.get("dilations") or [1] * len(extents)
        totals = [dilation * (extent - 1) for dilation, extent in zip(dilations, extents, strict=True)]
        kept = [attribute for attribute in node.attribute if attribute.name not in ("auto_pad", "pads")]
        pads = [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
