"""Int8 ONNX for networks of the user's own: onnxruntime's quantizer writes the graph, fmedge chooses the numbers.

Needs onnxruntime. The steps: :mod:`simplified <.graphs>` float graph, image kept in its own 8 bits (:mod:`.image`),
channels brought to equal footing (:mod:`.channels`, :mod:`.steps`), ranges and rounding from photos
(:mod:`.statistics`, :mod:`.weights`), quantizer (:mod:`.quantizer`), choice among a few recipes (:mod:`.recipes`).
"""
