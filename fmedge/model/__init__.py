"""Describe models: layers, weights, cards, artifacts.

Imports only :mod:`fmedge.system` and :mod:`fmedge.errors`.
"""
