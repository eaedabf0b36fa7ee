"""Write TFLite files.

Imports TensorFlow.
"""
