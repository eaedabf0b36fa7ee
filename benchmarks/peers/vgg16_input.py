"""VGG16's preprocessing as it is written where no framework is at hand."""

from __future__ import annotations

import numpy as np

MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)


def preprocess(photo: np.ndarray) -> np.ndarray:
    """RGB bytes to the float32 that Keras' `preprocess_input` makes: BGR, minus ImageNet's mean colour."""
    return photo[..., ::-1].astype(np.float32) - MEAN_BGR
