"""From feature maps and reports to pages and pictures.

Imports `data`, `model`, `system` and the errors; neither `export` nor `runtime`.
"""
