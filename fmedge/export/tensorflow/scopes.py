"""Scopes that show, in a traced graph, which layer an operation belongs to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping

from fmedge.export.tensorflow.tf_import import Tensor, tf


class LayerScopes:
    """Names of traced layers: operations of the n-th are in the scope ``layer_n``, whatever the layer's name is."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextlib.contextmanager
    def layer(self, name: str) -> Generator[None]:
        """Put the operations of the block into the scope of a layer."""
        self.names.append(name)
        with tf.name_scope(f"layer_{len(self.names) - 1}/"):  # the slash makes it absolute, in whatever scope we are
            yield


TfComputation = Callable[[Tensor, LayerScopes], Mapping[str, Tensor]]
"""Computes (N, H, W, C) per tap from prepared pixels: (N, H, W, 3), red first, or (N, H, W, 1), grey."""
