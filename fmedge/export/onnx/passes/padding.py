"""Make padding explicit: for images of open size tf2onnx writes ``SAME_UPPER``, which at stride 1 is a fixed number."""

from __future__ import annotations

import onnx
from onnx import helper


def spell_out_padding(graph: onnx.GraphProto) -> None:
    """Replace ``SAME_UPPER`` in convolutions of stride 1 by the padding in pixels."""
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
