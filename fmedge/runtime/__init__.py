"""From an artifact to a session on some hardware.

Imports `model`, `system` and the errors; never `export`.
"""
