"""Int8 ONNX for networks of the user's own: onnxruntime's quantizer writes the graph, the numbers are chosen here.

Needs onnxruntime. In the order of the work: a simplified float graph (``graphs``), the image in its own 8 bits
(``image``), factors of channels (``channels``, ``steps``), ranges and rounding from photos (``statistics``,
``weights``), the quantizer (``quantizer``), and the choice among a few recipes (``recipes``).
"""
