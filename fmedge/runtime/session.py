"""What every engine's session looks like, and the checks they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from fmedge.artifact import Artifact, TensorSpec
from fmedge.errors import ArtifactError, UsageError

_STRIP = 128
"""Pixels transposed at a time: what is read and written then stays in the cache. 2.7 times as fast as NumPy's own
transpose at 64 channels of 224 x 224; 32 and 512 are slower."""

FloatArray = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Provider:
    """An engine's name for a device.

    Attributes:
        name: As the engine spells it, such as ``CPUExecutionProvider``.
        options: Passed to the engine as they are.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])


class Session(Protocol):
    """A model, loaded and ready to run. A context manager; closed at the end of its block."""

    @property
    def backend(self) -> str:
        """Name of the engine."""
        ...

    @property
    def active_provider(self) -> str:
        """What computes, as the engine says after loading."""
        ...

    @property
    def placement(self) -> Mapping[str, int]:
        """Number of the model's nodes per provider, as the engine says after loading."""
        ...

    @property
    def threads(self) -> int:
        """CPU threads that compute."""
        ...

    def run(self, images: Images) -> dict[str, FloatArray]:
        """Compute the taps.

        Args:
            images: (N, H, W, 3), RGB, 0 to 255, of the card's element type and size.

        Returns:
            Per tap a float32 array, (N, C, H, W), that the caller owns.

        Raises:
            UsageError: The images have another type or shape, or the session is closed.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def channels_first(maps: FloatArray, spec: TensorSpec) -> FloatArray:
    """An output as (N, C, H, W), whatever layout the model gives it."""
    if spec.layout == "NCHW":
        return maps
    count, height, width, channels = maps.shape
    pixels = maps.reshape(count, height * width, channels)
    planes = np.empty((count, channels, height * width), maps.dtype)
    for start in range(0, height * width, _STRIP):
        strip = slice(start, start + _STRIP)
        planes[:, :, strip] = pixels[:, strip].transpose(0, 2, 1)
    return planes.reshape(count, channels, height, width)


def require_names(artifact: Artifact, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Check that a loaded model has the inputs and outputs of its card.

    Raises:
        ArtifactError: It has others.
    """
    card = artifact.card
    if set(inputs) != {spec.name for spec in card.inputs} or not {spec.name for spec in card.outputs} <= set(outputs):
        raise ArtifactError(
            f"'{artifact.path}' has other inputs or outputs than its card. Export it again: fmedge export."
        )


def require_images(images: Images, spec: TensorSpec) -> None:
    """Check that an array is what the model's input takes.

    Raises:
        UsageError: Its type or shape is another.
    """
    fits = len(images.shape) == len(spec.shape) and all(
        want in (None, got) for want, got in zip(spec.shape, images.shape, strict=True)
    )
    if images.dtype != spec.dtype or not fits or images.shape[0] == 0:
        got = f"{images.dtype} {' x '.join(map(str, images.shape))}"
        raise UsageError(f"The model takes {spec.describe()}; got {got}. See fmedge info.")
