"""Write ncnn's pair of files, a graph as text and a file of weights.

Both formats are described in ncnn's own documentation, "param and model file structure".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmedge.errors import ParityError
from fmedge.model.card import METADATA_KEY, ModelCard
from fmedge.model.submodel import MAX_FLOAT16

MAGIC = 7767517
"""First line of every graph."""

FLOAT32 = 0
FLOAT16 = 0x01306B47
"""Tags that precede a kernel and say how its values are stored; from ncnn's ``modelbin.cpp``."""

_ALIGNMENT = 4
"""In bytes: an array of float16 values is padded to a multiple of this."""

RECIPE = {"weights": "float16", "arithmetic": "float32: the weights are widened when the model is loaded"}


def require_float16(name: str, values: npt.NDArray[np.float32]) -> None:
    """Check that float16 can hold weights.

    Raises:
        ParityError: It cannot.
    """
    if np.abs(values).max(initial=0.0) > MAX_FLOAT16:
        raise ParityError(
            f"'{name}' holds values too large for float16, which ends at {MAX_FLOAT16:,.0f}.",
            hint="Use --precision fp32.",
        )


@dataclass(slots=True)
class Graph:
    """A graph under construction.

    Attributes:
        half: Whether kernels are stored as float16.
        lines: The first file's lines, one per layer.
        blobs: Number of tensors.
        weights: The second file's content, in the order of the layers.
    """

    half: bool
    lines: list[str] = field(default_factory=list[str])
    blobs: int = 0
    weights: list[bytes] = field(default_factory=list[bytes])

    def add(self, kind: str, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **fields: int | str) -> None:
        """Add a layer; ``p3=1`` sets its parameter number 3."""
        pairs = [f"{key.removeprefix('p')}={value}" for key, value in fields.items()]
        self.lines.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *pairs]))
        self.blobs += len(outputs)

    def plain(self, values: npt.ArrayLike) -> None:
        """Store an array without a tag, always as float32."""
        self.weights.append(np.ascontiguousarray(values, "<f4").tobytes())

    def kernel(self, name: str, values: npt.NDArray[np.float32]) -> None:
        """Store a kernel with its tag."""
        if not self.half:
            self.weights += [FLOAT32.to_bytes(4, "little"), values.astype("<f4").tobytes()]
            return
        require_float16(name, values)
        content = values.astype("<f2").tobytes()
        self.weights += [FLOAT16.to_bytes(4, "little"), content, bytes(-len(content) % _ALIGNMENT)]

    def text(self, card: ModelCard) -> bytes:
        """Return the first file. After the last layer ncnn looks for one more parameter, a number; ``#`` is none."""
        head = [str(MAGIC), f"{len(self.lines)} {self.blobs}"]
        return "\n".join([*head, *self.lines, f"#{METADATA_KEY} {card.facts_json()}", ""]).encode("ascii")
