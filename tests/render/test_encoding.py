import numpy as np
import pytest

from fmedge.errors import UsageError
from fmedge.render.encoding import CHUNK_VALUES, encode_maps
from support.messages import says
from support.page_samples import decode, random_maps

SHAPES = [(1, 1, 1), (3, 1, 7), (5, 13, 11), (64, 56, 56), (2048, 3, 3), (3, 700, 801)]


@pytest.mark.parametrize("shape", SHAPES)
def test_values_come_back_to_half_a_step(shape):
    maps = random_maps(*shape)
    encoded = encode_maps(maps)
    step = np.ptp(maps, axis=(1, 2), keepdims=True) / 4091
    error = np.abs(decode(encoded) - maps)
    assert np.all(error <= step / 2 + 1e-6 * np.abs(maps).max())
    np.testing.assert_allclose(encoded.step, step[:, 0, 0], rtol=3e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_floats_come_back(shape):
    maps = random_maps(*shape)
    np.testing.assert_array_equal(decode(encode_maps(maps, "float32")), maps)
    np.testing.assert_array_equal(decode(encode_maps(maps, "float16")), maps.astype(np.float16))


def test_signs_come_back_so_that_relu_can_follow():
    maps = random_maps(9, 15, 15)
    maps[:, :4] = 0
    decoded = decode(encode_maps(maps))
    assert np.all(decoded[maps == 0] == 0)
    assert np.all(decoded[maps < 0] <= 0)
    assert np.all(decoded[maps > 0] >= 0)


def test_zeros_after_relu_stay_exactly_zero():
    maps = np.maximum(random_maps(9, 15, 15), 0)
    decoded = decode(encode_maps(maps))
    assert (maps == 0).any()
    assert np.all(decoded[maps == 0] == 0)
    np.testing.assert_allclose(decoded.max(axis=(1, 2)), maps.max(axis=(1, 2)), rtol=1e-6)


def test_differences_are_kept_where_most_values_are_not_zero():
    maps = random_maps(9, 15, 15)
    assert encode_maps(maps).differences
    assert not encode_maps(maps, "float32").differences
    maps[:, :8] = 0
    assert not encode_maps(maps).differences


@pytest.mark.parametrize("value", [0.0, -7.25, 1e-42, 3e38])
def test_a_constant_channel_comes_back_exactly(value):
    maps = np.full((2, 3, 5), value, np.float32)
    np.testing.assert_array_equal(decode(encode_maps(maps)), maps)


def test_values_too_close_for_a_step_do_not_fail():
    maps = np.array([0, 1e-45], np.float32).reshape(1, 1, 2)
    assert np.abs(decode(encode_maps(maps)) - maps).max() <= 1e-44


def test_channels_are_shared_out_over_chunks():
    encoded = encode_maps(random_maps(64, 224, 224))
    assert all(len(plane) == -(-64 // encoded.chunk_channels) for plane in encoded.planes)
    assert encoded.chunk_channels * 224 * 224 <= CHUNK_VALUES


def test_a_view_that_is_not_contiguous():
    maps = random_maps(4, 10, 12)[:, ::2, ::-1]
    np.testing.assert_array_equal(decode(encode_maps(maps)), decode(encode_maps(maps.copy())))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [(np.nan,), (np.inf, -np.inf), (np.nan, np.inf, 3e38, -3e38), (3e38, -3e38)])
@pytest.mark.parametrize("values", ["12bit", "float32"])
def test_what_is_no_number_comes_back_as_such(odd, values):
    maps = random_maps(6, 4, 5)
    maps[4, 0, : len(odd)] = odd
    encoded = encode_maps(maps, values, relu=True)
    decoded = decode(encoded)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(maps))
    np.testing.assert_array_equal(decoded[np.isinf(maps)], maps[np.isinf(maps)])
    finite = np.isfinite(maps)
    largest = [np.ptp(channel[np.isfinite(channel)].astype(float)) / 4091 * 0.51 for channel in maps]
    error = np.where(finite, decoded, 0) - np.where(finite, maps, 0).astype(float)
    assert np.all(np.abs(error) <= np.reshape(largest, (-1, 1, 1)))
    assert encoded.statistics[0].broken.tolist() == [0, 0, 0, 0, np.count_nonzero(~finite), 0]
    for found in encoded.statistics:
        assert all(np.isfinite(getattr(found, name)).all() for name in ("smallest", "largest", "mean"))


def test_a_channel_without_any_number():
    encoded = encode_maps(np.full((2, 3, 3), np.nan, np.float32))
    assert np.isnan(decode(encoded)).all()
    assert encoded.statistics[0].largest.tolist() == [0, 0]


def test_statistics():
    maps = random_maps(70, 90, 91)
    maps[:, :9] = 0
    raw, after = encode_maps(maps, relu=True).statistics
    for found, values in ((raw, maps), (after, np.maximum(maps, 0))):
        np.testing.assert_array_equal(found.smallest, values.min(axis=(1, 2)))
        np.testing.assert_array_equal(found.largest, values.max(axis=(1, 2)))
        np.testing.assert_allclose(found.mean, values.mean(axis=(1, 2), dtype=float), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.spread, values.std(axis=(1, 2), dtype=float), rtol=1e-5)
        np.testing.assert_allclose(found.zeros, (values == 0).mean(axis=(1, 2)), rtol=1e-6)
        np.testing.assert_allclose(found.negative, (values < 0).mean(axis=(1, 2)), rtol=1e-6)


def test_float16_says_where_it_ends():
    maps = random_maps(3, 2, 2)
    maps[1, 1, 1] = 70000
    with pytest.raises(UsageError, check=says("--values float32")):
        encode_maps(maps, "float16")
