"""What goes in and what comes out: images, feature maps, measurements.

Imports only :mod:`fmedge.model`, :mod:`fmedge.system` and :mod:`fmedge.errors`.
"""
