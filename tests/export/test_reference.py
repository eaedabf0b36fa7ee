"""The float64 judge, judged by arithmetic done the long way."""

import numpy as np
import pytest

from fmedge.export.reference import reference_outputs
from fmedge.model.submodel import Activation, SubModel

MEAN_RGB = np.array([123.68, 116.779, 103.939])


def test_one_value_by_hand(untrained_weights):
    image = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    raw = reference_outputs(SubModel(("block1_conv1",), Activation.NONE), untrained_weights, image)["block1_conv1"]
    kernel, bias = untrained_weights["block1_conv1"]
    assert raw.shape == (64, 6, 5)
    for channel, row, column in [(0, 0, 0), (5, 3, 2), (63, 5, 4)]:
        total = float(bias[channel])
        for i in range(3):
            for j in range(3):
                r, c = row + i - 1, column + j - 1
                if 0 <= r < 6 and 0 <= c < 5:  # outside lies zero after the mean is subtracted
                    bgr = (image[r, c] - MEAN_RGB)[::-1]
                    total += float(bgr @ kernel[i, j, :, channel].astype(float))
        assert raw[channel, row, column] == pytest.approx(total, rel=1e-12)


def test_relu_and_pool_by_definition(untrained_weights):
    image = np.random.default_rng(2).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    taps = ("block1_conv1", "block1_conv2", "block1_pool")
    seen = reference_outputs(SubModel(taps), untrained_weights, image)
    raw = reference_outputs(SubModel(taps[:2], Activation.NONE), untrained_weights, image)
    np.testing.assert_array_equal(seen["block1_conv2"], np.maximum(raw["block1_conv2"], 0))
    assert seen["block1_pool"].shape == (64, 3, 4)
    for row in range(3):
        for column in range(4):
            window = seen["block1_conv2"][:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(seen["block1_pool"][:, row, column], window.max(axis=(1, 2)))
