"""Plans int8: ranges, rounding, and what it should give.

Imports no library beyond NumPy; the writers of ONNX and TFLite follow the plan.
"""
