"""Turn a network into an artifact: build, check, write.

Imports `data`, `model`, `system` and the errors; never `runtime`.
"""
