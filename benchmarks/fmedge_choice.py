"""fmedge's own ways to compute a layer in float32, for the tables."""

from __future__ import annotations

from fmedge.runtime.backends import BACKENDS

ROWS = {"onnxruntime": "fmedge, ONNX Runtime", "ncnn": "fmedge, ncnn", "native": "fmedge, own kernels"}
"""The engines that are shown, and the names of their rows. `fmedge run` takes its own kernels where they are installed,
otherwise ONNX Runtime."""


def own_engines() -> dict[str, str]:
    """Return the engines of :data:`ROWS` that are installed, by the names of their rows."""
    there = {row.name for row in BACKENDS if row.installed}
    return {name: engine for engine, name in ROWS.items() if engine in there}
