"""Files from strangers that ask for more than they are: one line, an exit code, little memory, nothing left behind."""

import shutil
import sys

import pytest
from strangers import KINDS, case, measured, wrong

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(sys.platform != "linux", reason="what a process took is told in kilobytes by Linux alone"),
]
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")

FEW, MANY = 4, 200


def gone_through(kind, numbers, tmp_path, cases):
    """Each file of a kind, against a good one."""
    place = tmp_path / "good"
    place.mkdir()
    good = measured(KINDS[kind].good(place), place)
    assert (good.code, good.left) == (0, []), good.said
    faults = {}
    for number in numbers:
        folder = tmp_path / str(number)
        outcome = case(kind, number, folder)
        shutil.rmtree(folder)
        if what := wrong(outcome, good.megabytes):
            faults[number] = (what, outcome)
    cases("strangers' files", len(numbers))
    assert not faults


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_each_kind(kind, tmp_path, cases):
    gone_through(kind, range(FEW), tmp_path, cases)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_of_each_kind(kind, tmp_path, cases):
    gone_through(kind, range(FEW, FEW + MANY), tmp_path, cases)
