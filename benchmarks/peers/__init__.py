"""The peers with which fmedge is compared, each used as its own users would use it; nothing here uses fmedge.

A peer is a module with two functions:

- ``prepare(weights, layer, folder)`` makes the model file, once, in a separate process. Keras needs none.
- ``load(weights, layer, folder, threads)`` returns a call: a uint8 RGB photo (1, 224, 224, 3) in, a new float32 array
  (1, C, H, W), contiguous and owned by the caller, out. Preprocessing is part of the call.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

Call = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """A peer: its name on the page, its module in this folder, and the packages that it needs."""

    name: str
    module: str
    packages: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether all packages that it needs are installed."""
        return all(find_spec(package) is not None for package in self.packages)

    def load_module(self) -> ModuleType:
        """Its two functions."""
        return importlib.import_module(f"peers.{self.module}")


PEERS = (
    Peer("Keras predict", "keras_predict", ("tensorflow",)),
    Peer("tf2onnx + ONNX Runtime", "plain_onnxruntime", ("tensorflow", "tf2onnx", "onnxruntime")),
    Peer("LiteRT", "plain_litert", ("tensorflow", "ai_edge_litert")),
    Peer("OpenVINO", "plain_openvino", ("tensorflow", "tf2onnx", "openvino")),
    Peer("PyTorch", "plain_pytorch", ("torch",)),
    Peer("pnnx + ncnn", "plain_ncnn", ("torch", "pnnx", "ncnn")),
)


def find_peer(name: str) -> Peer:
    """Return the peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)


def model_file(folder: Path, layer: str, suffix: str) -> Path:
    """Return the path of a peer's model of a layer."""
    return folder / f"{layer}{suffix}"
