"""How far B is from A, per channel and over photos."""

import numpy as np
import pytest

from fmedge.data.channel_errors import measure_errors
from fmedge.model.parity import gate_for, measure_parity
from fmedge.model.tap_codes import TapCodes

GATE = gate_for("int8", "block1_conv1")


def maps(*channels):
    """Each channel from its values, in one row."""
    return np.array(channels, np.float32)[:, np.newaxis]


@pytest.fixture
def photos():
    """Three photos: A and B of four channels, of which the last is zero throughout in both."""
    generator = np.random.default_rng(5)
    first = generator.normal(0, 3, (3, 4, 6, 8)).astype(np.float32)
    second = first + generator.normal(0.1, 0.2, first.shape).astype(np.float32)
    first[:, 3] = second[:, 3] = 0
    return list(zip(first, second, strict=True))


def test_the_figures_of_one_photo(photos):
    first, second = (each.astype(float) for each in photos[0])
    found = measure_errors(*photos[0]).channels()
    error = second - first
    assert found.photos == 1
    np.testing.assert_allclose(found.bias, error.mean(axis=(1, 2)))
    np.testing.assert_allclose(found.max_error, np.abs(error).max(axis=(1, 2)))
    ratios = 10 * np.log10(np.square(first[:3]).sum(axis=(1, 2)) / np.square(error[:3]).sum(axis=(1, 2)))
    np.testing.assert_allclose(found.snr_db, [*ratios, np.inf])
    assert np.isnan(found.scale).all()
    assert np.isnan(found.zero_point).all()


def test_over_photos_is_as_over_one_large_photo(photos):
    one, *others = (measure_errors(*sides) for sides in photos)
    sums = one + others[0] + others[1]
    together = [np.concatenate(side, axis=1) for side in zip(*photos, strict=True)]
    found, expected = sums.channels(), measure_errors(*together).channels()
    assert (found.photos, expected.photos) == (3, 1)
    for name in ("snr_db", "bias", "max_error", "saturated"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), err_msg=name)
    parity, whole = sums.parity(GATE), measure_parity(together[1], together[0], GATE)
    assert parity.snr_db == pytest.approx(whole.snr_db)
    assert parity.cosine == pytest.approx(whole.cosine)
    assert parity.max_error_over_range == pytest.approx(whole.max_error_over_range)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, np.nan), (2, 2)])
def test_parity_as_of_the_whole_tensor(first, second):
    sides = [np.full((2, 3, 3), value, np.float32) for value in (first, second)]
    found, expected = measure_errors(*sides).parity(GATE), measure_parity(sides[1], sides[0], GATE)
    assert found.passed == expected.passed
    assert str(found.snr_db) == str(expected.snr_db)


def test_codes_saturate_at_their_bounds_but_not_where_relu_ends():
    codes = TapCodes(np.array([0.5], np.float32), np.array([0]), 0, 255)
    held = maps([0, 0, 127.5, 127.5], [0, 1, 2, 127])
    found = measure_errors(held, held, codes).channels()
    assert found.saturated.tolist() == [0.5, 0]
    assert (found.scale.tolist(), found.zero_point.tolist()) == ([0.5, 0.5], [0, 0])
    per_channel = TapCodes(np.array([1, 2], np.float32), np.array([10, -128]), -128, 127)
    held = maps([-138, -137, 116, 117], [0, 0, 508, 510])
    found = measure_errors(held, held, per_channel).channels()
    assert found.saturated.tolist() == [0.5, 0.25]
    assert found.zero_point.tolist() == [10, -128]
    assert (found.lowest.tolist(), found.highest.tolist()) == ([-138, 0], [117, 510])


def test_without_codes_values_saturate_at_their_own_ends_where_the_reference_goes_on():
    first = maps([0, 5, 9, 12], [1, 2, 3, 4], [0, 5, 8, 8], [-9, -7, 0, 3], [0, 2, 3, 9])
    second = maps([0, 5, 8, 8], [1, 2, 4, 4], [0, 5, 8, 8], [-6, -6, 0, 3], [0, 2, 3, 8])
    found = measure_errors(first, second).channels()
    assert found.saturated.tolist() == [0.5, 0, 0, 0.5, 0]  # the last has one value there, as any channel has


def test_own_ends_are_those_of_all_photos():
    cut, lower, one = (
        measure_errors(maps(first), maps(second)) for first, second in (([9, 9], [8, 8]), ([7, 7], [6, 6]), ([9], [8]))
    )
    assert (cut + lower).channels().saturated.tolist() == [0.5]
    assert (lower + cut).channels().saturated.tolist() == [0.5]
    assert (lower + one).channels().saturated.tolist() == [0]
    assert (one + cut).channels().saturated.tolist() == [1]


def test_what_is_no_number(recwarn):
    first = maps([1, np.nan], [1, 2], [np.inf, 1])
    second = maps([1, 1], [np.inf, 2], [np.inf, 1])
    found = (measure_errors(first, second) + measure_errors(second, first)).channels()
    assert not np.isfinite(found.snr_db[:1]).any()
    assert found.max_error[1] == np.inf
    assert found.saturated.tolist() == [0, 0, 0]
    assert not recwarn.list
