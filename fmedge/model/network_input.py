"""What a network of the user's own takes, and whether that is one image."""

from __future__ import annotations

from dataclasses import dataclass

from fmedge.errors import UsageError

_AXES = 4


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """What a network of the user's own takes.

    Attributes:
        shapes: Shapes of its inputs, the batch first; None stands for any extent.
        prepared_by: Name of the layer that prepares the pixels inside the model; None where none does.
        integer: Whether it takes integers.
        what: What it is, for messages.
    """

    shapes: tuple[tuple[int | None, ...], ...]
    prepared_by: str | None = None
    integer: bool = False
    what: str = "Keras model"

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width."""
        return self.shapes[0][1], self.shapes[0][2]

    @property
    def channels(self) -> int | None:
        """Channels; None for any number."""
        return self.shapes[0][3]

    def require_image(self) -> None:
        """Check that the model takes one image.

        Raises:
            UsageError: It takes something else.
        """
        if len(self.shapes) != 1 or len(self.shapes[0]) != _AXES or self.channels not in (None, 1, 3):
            takes = ", ".join(map(str, self.shapes))
            raise UsageError(
                f"The {self.what} takes {takes[:90]}. Allowed: one image, (None, height, width, 3), or 1 for grey."
            )
