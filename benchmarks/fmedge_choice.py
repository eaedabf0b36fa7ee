"""Which engine fmedge takes for a layer where speed matters and the result shall stay float32."""

from __future__ import annotations

from fmedge.runtime.backends import BACKENDS


def default_backend() -> str:
    """The engine that `fmedge run` takes: the first of the table that is installed."""
    return next(row.name for row in BACKENDS if row.installed)


def fastest_backend(layer: str) -> str:
    """The fastest exact engine of fmedge's: ncnn, whose Winograd pays from the second convolution on."""
    ncnn = any(row.name == "ncnn" and row.installed for row in BACKENDS)
    return "ncnn" if ncnn and layer != "block1_conv1" else default_backend()
