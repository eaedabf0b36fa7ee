"""VGG16's preprocessing, written without a framework."""

from __future__ import annotations

import numpy as np

MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)


def preprocess(photo: np.ndarray) -> np.ndarray:
    """Convert RGB bytes to float32 as Keras' `preprocess_input` does: BGR, minus ImageNet's mean colour."""
    return photo[..., ::-1].astype(np.float32) - MEAN_BGR
