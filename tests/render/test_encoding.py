import numpy as np
import pytest
from page_samples import decode, random_maps

from fmedge.errors import UsageError
from fmedge.render.encoding import CHUNK_BYTES, encode_maps


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 7), (5, 13, 11), (64, 56, 56), (2048, 3, 3), (3, 700, 801)])
def test_values_come_back_to_half_a_step(shape):
    maps = random_maps(*shape)
    encoded = encode_maps(maps)
    span = np.ptp(maps, axis=(1, 2), keepdims=True)
    step = span / 4095
    error = np.abs(decode(encoded) - maps)
    assert np.all(error <= step / 2 + 1e-6 * np.abs(maps).max())
    np.testing.assert_allclose(encoded.step, step[:, 0, 0], rtol=1e-6)


def test_zeros_after_relu_stay_exactly_zero():
    maps = np.maximum(random_maps(9, 15, 15), 0)
    decoded = decode(encode_maps(maps))
    assert (maps == 0).any()
    assert np.all(decoded[maps == 0] == 0)


def test_smallest_and_largest_value_come_back():
    maps = random_maps(9, 15, 15)
    decoded = decode(encode_maps(maps))
    np.testing.assert_array_equal(decoded.min(axis=(1, 2)), maps.min(axis=(1, 2)))
    np.testing.assert_allclose(decoded.max(axis=(1, 2)), maps.max(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, -7.25, 1e-42, 3e38])
def test_a_constant_channel_comes_back_exactly(value):
    maps = np.full((2, 3, 5), value, np.float32)
    np.testing.assert_array_equal(decode(encode_maps(maps)), maps)


def test_values_too_close_for_a_step_do_not_fail():
    maps = np.array([0, 1e-45], np.float32).reshape(1, 1, 2)
    assert np.abs(decode(encode_maps(maps)) - maps).max() <= 1e-44


def test_channels_are_shared_out_over_chunks():
    encoded = encode_maps(random_maps(64, 224, 224))
    assert len(encoded.high) == len(encoded.low) == -(-64 // encoded.chunk_channels)
    assert encoded.chunk_channels * 224 * 224 * 1.5 <= CHUNK_BYTES


def test_a_view_that_is_not_contiguous():
    maps = random_maps(4, 10, 12)[:, ::2, ::-1]
    np.testing.assert_array_equal(decode(encode_maps(maps)), decode(encode_maps(maps.copy())))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [(0, np.nan), (0, np.inf), (-np.inf, 1), (-3e38, 3e38)])
def test_what_cannot_be_drawn_is_refused_with_the_channels_number(values):
    maps = random_maps(6, 2, 2)
    maps[4, 0, :] = values
    with pytest.raises(UsageError, match="Channel 104 "):
        encode_maps(maps, first_channel=100)
