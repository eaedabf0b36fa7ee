"""The result of a run: an array, and what produced it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fmedge.model.card import ModelCard
from fmedge.model.submodel import require_channel
from fmedge.system.files import replacing

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where feature maps come from.

    Attributes:
        card: Facts of the model that computed them.
        image_name: File name of the image, without its folder.
        image_size: Height and width of the image as decoded, in pixels, before it was resized.
        resize: How it was resized to the model's input size: ``nearest``, ``bilinear`` or ``bicubic``.
        backend: The engine, such as ``onnxruntime``.
        active_provider: The part of the engine that computed, such as ``CPUExecutionProvider``.
        threads: CPU threads the engine was given.
        device: The device that was requested.
        math: Arithmetic: ``fp32`` or ``bf16``; ``wide int8`` for an int8 model on x86 without VNNI.
        placement: Where the engine ran which nodes, such as ``13/13 Conv on CPUExecutionProvider``; also reports when a
            part of the model does not run on the device.
    """

    card: ModelCard
    image_name: str
    image_size: tuple[int, int]
    resize: str
    backend: str
    active_provider: str
    threads: int
    device: str = "cpu"
    math: str = "fp32"
    placement: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what is known of the run, without the card, as JSON can hold it."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name != "card"}


@dataclass(frozen=True, slots=True)
class FeatureMaps:
    """Feature maps of one layer.

    Attributes:
        maps: Float32, (N, C, H, W): images, channels, rows, columns; row 0 is the top.
        layer: Keras' name of the layer.
        provenance: What produced them.
        pixels: The images as the model received them: uint8, (N, height, width, 3), RGB.
    """

    maps: FloatArray
    layer: str
    provenance: Provenance
    pixels: npt.NDArray[np.uint8] = field(repr=False)

    @property
    def activation(self) -> str:
        """``relu`` for the layer's own output, or ``none`` for the values before its activation."""
        return self.provenance.card.activation

    @property
    def function(self) -> str:
        """The layer's activation, whether the maps are before or after it; see :mod:`fmedge.model.activations`."""
        return self.provenance.card.function_of(self.layer)

    @property
    def shown(self) -> str:
        """What the maps show, in a word: :attr:`function`, or ``none`` for the values before it."""
        return self.provenance.card.shown(self.layer)

    def channel(self, index: int) -> FloatArray:
        """Return one channel of the first image: float32, (H, W), a view.

        Raises:
            UsageError: There is no channel of that number.
        """
        self.require_channel(index)
        return self.maps[0, index]

    def require_channel(self, index: int) -> None:
        """Check that a channel of that number exists, counted from 0.

        Raises:
            UsageError: It does not.
        """
        require_channel(self.layer, self.maps.shape[1], index)

    def save(self, path: Path) -> None:
        """Write the first image's maps as a NumPy archive, atomically.

        The archive holds ``maps`` (float32, (C, H, W)), ``layer``, ``activation`` (its name, or ``none`` for the values
        before it) and ``card`` (JSON text). None of them is a pickle: read it with ``numpy.load(path)``.

        Raises:
            WriteError: The file cannot be written.
        """
        with replacing(path, _is_archive) as stream:
            np.savez(
                stream,
                maps=self.maps[0],
                layer=np.array(self.layer),
                activation=np.array(self.shown),
                card=np.array(self.provenance.card.to_json()),
            )


def _is_archive(stream: IO[bytes]) -> bool:
    """Return whether every member of a NumPy archive still has the checksum computed when it was written."""
    import zipfile  # NumPy imports it to write one

    try:
        with zipfile.ZipFile(stream) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False
