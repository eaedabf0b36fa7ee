"""Write ONNX files.

Imports the onnx package.
"""
