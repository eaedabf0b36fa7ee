"""Pooling against plain formulas."""

import numpy as np
import pytest

from fmedge.bulk.dataset import to_int8
from fmedge.bulk.pooling import find_pool, normalized
from fmedge.errors import UsageError


@pytest.fixture
def maps():
    return np.maximum(np.random.default_rng(3).normal(size=(7, 9, 13)), 0).astype(np.float32)


def test_mean_and_max(maps):
    np.testing.assert_allclose(find_pool("mean")(maps), maps.mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(find_pool("max")(maps), maps.max(axis=(1, 2)))


@pytest.mark.parametrize("power", [1, 3, 4.5])
def test_gem(maps, power):
    values = np.maximum(maps, 1e-6).astype(np.float64)
    expected = (values**power).mean(axis=(1, 2)) ** (1 / power)
    np.testing.assert_allclose(find_pool(f"gem:{power}")(maps), expected, rtol=1e-6)


def test_gem_between_mean_and_max():
    """No power overflows: with a large one it comes to the maximum, with 1 it is the mean."""
    maps = np.array([[[1.0, 2.0], [3.0, 1e30]]], np.float32)
    assert find_pool("gem:1000")(maps)[0] == pytest.approx(1e30, rel=2e-3)
    assert find_pool("gem:1")(maps)[0] == pytest.approx(maps.astype(float).mean(), rel=1e-6)
    assert find_pool("gem")(np.zeros((2, 3, 3), np.float32)) == pytest.approx([1e-6, 1e-6])


def test_grid_is_pytorchs_adaptive_mean(maps):
    """Bins from floor(i H / N) to ceil((i + 1) H / N)."""
    found = find_pool("grid:2")(maps).reshape(7, 2, 2)
    np.testing.assert_allclose(found[:, 0, 0], maps[:, :5, :7].mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1, 1], maps[:, 4:, 6:].mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(find_pool("grid:1")(maps), find_pool("mean")(maps), rtol=1e-6)
    whole = find_pool("grid:9")(maps[:, :, :9]).reshape(7, 9, 9)
    np.testing.assert_array_equal(whole, maps[:, :, :9])


def test_rmac_of_a_square_by_hand():
    """At 6 x 6 with two levels: the whole, and four regions of 4 x 4 at 0 and 2."""
    maps = np.abs(np.random.default_rng(5).normal(size=(4, 6, 6))).astype(np.float32)
    total = np.zeros(4)
    for top, left, side in [(0, 0, 6), *((y, x, 4) for y in (0, 2) for x in (0, 2))]:
        vector = maps[:, top : top + side, left : left + side].max(axis=(1, 2)).astype(float)
        total += vector / np.linalg.norm(vector)
    np.testing.assert_allclose(find_pool("rmac:2")(maps), total / np.linalg.norm(total), rtol=1e-6)


def test_rmac_of_a_wide_map_has_more_regions_along_it():
    """At 4 x 8, level 1: two squares of 4, which is closest to an overlap of 40 %: none would leave the other out."""
    maps = np.zeros((2, 4, 8), np.float32)
    maps[0, 0, 0] = maps[1, 3, 7] = 1
    np.testing.assert_allclose(find_pool("rmac:1")(maps), np.full(2, 0.5**0.5), rtol=1e-6)
    assert not find_pool("rmac")(np.zeros((2, 4, 8), np.float32)).any()


def test_flatten_and_shapes(maps):
    np.testing.assert_array_equal(find_pool("flatten")(maps), maps.ravel())
    for words in ("mean", "max", "gem:2", "grid:3", "rmac:2", "flatten", "none"):
        assert find_pool(words).shape(maps.shape) == find_pool(words)(maps).shape


def test_names_hold_their_numbers():
    assert [find_pool(words).name for words in ("gem", "gem:3", "gem:2.5", "grid:4", "mean")] == [
        "gem:3",
        "gem:3",
        "gem:2.5",
        "grid:4",
        "mean",
    ]


@pytest.mark.parametrize(
    "words", ["gme", "gem:0", "gem:x", "grid:0", "grid:1.5", "grid:65", "mean:2", "rmac:9", "", "gem:"]
)
def test_what_is_no_pool(words):
    with pytest.raises(UsageError):
        find_pool(words)


def test_norm_one():
    vector = np.array([3, 4], np.float32)
    np.testing.assert_allclose(normalized(vector), [0.6, 0.8])
    assert not normalized(np.zeros(3, np.float32)).any()


def test_int8_comes_back_within_half_a_step():
    values = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32)
    values[3] = 0
    codes, scales = to_int8(values)
    assert codes.dtype == np.int8
    assert np.abs(codes).max() == 127
    assert (np.abs(codes * scales[:, None] - values) <= scales[:, None] / 2 * 1.0001).all()
