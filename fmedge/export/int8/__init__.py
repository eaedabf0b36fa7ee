"""Plan int8 models: ranges, rounding, and the expected outputs.

Imports no library beyond NumPy; the ONNX and TFLite writers follow the plan.
"""
