"""Scopes that tell, in a traced graph, which layer an operation is of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping

from fmedge.export.tensorflow.tf_import import Tensor, tf


class LayerScopes:
    """Names of traced layers: operations of the n-th stand in the scope ``layer_n``, whatever the layer is called."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextlib.contextmanager
    def layer(self, name: str) -> Generator[None]:
        """Put the operations of the block into the scope of a layer."""
        self.names.append(name)
        with tf.name_scope(f"layer_{len(self.names) - 1}/"):  # the slash: whatever scope this one stands in
            yield


TfComputation = Callable[[Tensor, LayerScopes], Mapping[str, Tensor]]
"""From prepared pixels, (N, H, W, 3), red first, or (N, H, W, 1), grey, to (N, H, W, C) per tap."""
