"""The corpus that fuzzing grew: every file of it is answered by an error of ours, or taken."""

from pathlib import Path

import pytest

from fuzz.targets import TARGETS, run_target

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_every_file_is_answered(name, cases):
    files = sorted((CORPUS / name).iterdir())
    taken = [run_target(name, path.read_bytes()) for path in files]
    assert any(taken)
    assert name == "page" or not all(taken)
    cases("fuzz corpus", len(files))
