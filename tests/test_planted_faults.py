"""The list of planted faults fits the package: what each exchanges stands there once, and its tests exist."""

import pytest

from planted_faults import FAULTS
from support.places import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what for fault in FAULTS])
def test_a_fault_can_be_planted(fault):
    content = (ROOT / "fmedge" / fault.file).read_text()
    assert content.count(fault.right) == 1, f"{fault.file} holds it {content.count(fault.right)} times: {fault.right}"
    assert fault.right != fault.wrong
    assert fault.tests.split()
    for name in fault.tests.split():
        assert (ROOT / "tests" / name).exists(), name


def test_no_fault_stands_twice():
    assert len({fault.what for fault in FAULTS}) == len({fault[1:4] for fault in FAULTS}) == len(FAULTS)
