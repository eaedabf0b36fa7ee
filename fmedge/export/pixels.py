"""Prepare images as a network of the user's own takes them: the NumPy side of what its model file does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fmedge.export.network import Images
from fmedge.model.preprocessing import Preprocessing

LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue times 65,536: 0.299, 0.587, 0.114 of ITU-R BT.601, as in Pillow's ``convert("L")``."""

LUMA_PARTS = ((153.0, 300.0, 58.0), 2.0**-9), ((11.0, 70.0, 47.0), 2.0**-16)
"""The same out of one, split into two parts that float16 holds exactly. The luma of bytes, rounded to a byte, is then
exact in float32."""


def prepared(images: Images, preprocessing: Preprocessing) -> npt.NDArray[np.float64]:
    """Prepare images as the model expects them: (N, H, W, 3), or (N, H, W, 1) for grey."""
    if preprocessing.channel_order == "GREY":
        values = np.floor((images.astype(np.float64) @ np.array(LUMA) + 32768) / 65536)[..., np.newaxis]
    else:
        values = images[..., ::-1] if preprocessing.channel_order == "BGR" else images
    return (values.astype(np.float64) * preprocessing.scale - preprocessing.mean) / preprocessing.std
