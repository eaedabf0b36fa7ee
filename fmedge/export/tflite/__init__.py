"""Writes TFLite files.

Imports TensorFlow.
"""
