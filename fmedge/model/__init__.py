"""What a model is: layers, weights, cards, artifacts.

Imports `system` and the errors.
"""
