"""Read, bound, cut and trace Keras models.

Imports TensorFlow and Keras.
"""
