"""Writes ONNX files.

Imports the onnx package.
"""
