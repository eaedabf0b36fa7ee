"""Reads, bounds, cuts and traces Keras models.

Imports TensorFlow and Keras.
"""
