"""The measure of agreement."""

import numpy as np
import pytest

from fmedge.errors import ParityError
from fmedge.model.parity import GATES, Gate, Parity, measure_parity

GATE = Gate(1e-3, 40.0, "for this test")


def test_figures_of_a_known_difference():
    reference = np.array([0.0, 3.0, 4.0])
    parity = measure_parity(np.array([0.0, 3.0, 4.5]), reference, GATE)
    assert parity.max_error_over_range == pytest.approx(0.125)
    assert parity.snr_db == pytest.approx(10 * np.log10(25 / 0.25))
    assert parity.cosine == pytest.approx((9 + 18) / (5 * np.hypot(3, 4.5)))
    assert not parity.passed


def test_equal_arrays_pass_and_survive_json():
    parity = measure_parity(np.zeros(3, np.float32), np.zeros(3), GATES["fp32"])
    assert parity.passed
    assert Parity.from_dict(parity.to_dict()) == parity


def test_nan_fails():
    parity = measure_parity(np.array([np.nan, 1.0]), np.array([0.0, 1.0]), GATE)
    assert not parity.passed
    with pytest.raises(ParityError, match="does not compute"):
        parity.require("x.onnx")


def test_other_shape_is_refused():
    with pytest.raises(ParityError, match="Shapes differ"):
        measure_parity(np.zeros(3), np.zeros(4), GATE)
