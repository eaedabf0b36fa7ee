"""What goes in and what comes out: images, feature maps, measurements.

Imports `model`, `system` and the errors.
"""
