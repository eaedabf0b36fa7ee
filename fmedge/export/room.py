"""Limits on what a network of the user's own may take for an image, checked before any value is computed."""

from __future__ import annotations

from fmedge.errors import LimitExceeded
from fmedge.system.memory import require_memory

FREE_BYTES = 1 << 30
BYTES_PER_PIXEL = 1 << 10
"""Memory that a network's values may take at once for one image: ``FREE_BYTES``, or ``BYTES_PER_PIXEL`` for every pixel
if that is more. U-Nets take the most: at full size 64 channels are kept, 64 read and 64 written, 256 bytes each."""


FREE_PRODUCTS = 200_000_000_000
PRODUCTS_PER_PIXEL = 500_000
"""The same for multiplications: VGG16 has 305,000 per pixel. An x86-64 core computes about 50,000,000,000 a second."""


def require_room(layer: str, wanted: int, products: int, size: tuple[int, int]) -> None:
    """Check that a layer needs no more memory and time than usual for such an image.

    Args:
        layer: Its name.
        wanted: Memory in bytes that the values on the way to it take at once.
        products: Multiplications up to it.
        size: Height and width of the image.

    Raises:
        LimitExceeded: It needs more than is allowed, or more memory than is free.
    """
    most = max(FREE_BYTES, BYTES_PER_PIXEL * size[0] * size[1])
    if wanted > most:
        raise LimitExceeded(
            f"'{layer}' takes {wanted / 1e9:,.1f} GB for an image of {size[0]} x {size[1]}. "
            f"Allowed: {most / 1e9:,.1f} GB.",
            hint="Cut earlier, or give a smaller --size.",
        )
    most = max(FREE_PRODUCTS, PRODUCTS_PER_PIXEL * size[0] * size[1])
    if products > most:
        raise LimitExceeded(
            f"'{layer}' takes {products:,} multiplications for an image of {size[0]} x {size[1]}. Allowed: {most:,}.",
            hint="Cut earlier, or give a smaller --size.",
        )
    require_memory(f"'{layer}' for an image of {size[0]} x {size[1]}", wanted)
