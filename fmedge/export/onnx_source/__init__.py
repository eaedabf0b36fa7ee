"""Read ONNX networks of the user's own, find layers in them and compute what they give.

Imports onnx.
"""
