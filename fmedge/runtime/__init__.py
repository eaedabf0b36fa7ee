"""Open an artifact as a session on the available hardware.

Imports `model`, `system` and the errors; never `export`.
"""
