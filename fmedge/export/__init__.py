"""From a network to an artifact: build, check, write.

Imports `data`, `model`, `system` and the errors; never `runtime`.
"""
