"""Choose fmedge's engine for a layer when speed matters and the result must stay float32."""

from __future__ import annotations

from fmedge.runtime.backends import BACKENDS


def default_backend() -> str:
    """Return the engine that `fmedge run` takes: the first in the table that is installed."""
    return next(row.name for row in BACKENDS if row.installed)


def fastest_backend(layer: str) -> str:
    """Return fmedge's fastest exact engine: ncnn, whose Winograd method pays off from the second convolution on."""
    ncnn = any(row.name == "ncnn" and row.installed for row in BACKENDS)
    return "ncnn" if ncnn and layer != "block1_conv1" else default_backend()
