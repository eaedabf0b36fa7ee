"""Every exit code of an error, once as a shell sees it: other wrong inputs are gone through in this process."""

import json
import os
import shutil

import pytest

from fmedge.data.measurement import Process
from fmedge.errors import FmedgeError
from support.measurements import measurement, report
from support.places import ROOT


@pytest.fixture
def folder(tmp_path, picture):
    """Photos, one of them none, and two reports: the second twice as slow."""
    shutil.copy(picture, tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "without" / "plotly").mkdir(parents=True)
    (tmp_path / "without" / "plotly" / "__init__.py").touch()
    for name, seconds in (("before", 0.01), ("after", 0.02)):
        slow = report(measurement(processes=(Process(((seconds,) * 10,), 0.001),) * 4))
        (tmp_path / f"{name}.json").write_text(json.dumps(slow.to_dict()))
    return tmp_path


CODES = {
    2: (["run", "photo.png", "--layer", "block9"], "Unknown layer"),
    3: (["run", "gone.jpg"], "No image"),
    4: (["run", "photo.png", "--model", "gone.onnx"], "No model file"),
    5: (["run", "photo.png", "--style", "grid"], "A figure needs the plotly package"),
    6: (["run", "photo.png", "--output", "no/page.html"], "does not exist"),
    7: (["run", "photo.png", "--max-pixels", "9"], "at most 9 pixels"),
    8: (["compare", "before.json", "after.json", "--fail-on", "p50:5%"], "p50 +100.0 %"),
    9: (["run", "photo.png", "text.png", "--output", "pages"], "Cannot decode"),
}
"""What is typed, and what is said."""


@pytest.mark.parametrize("code", CODES)
def test_a_shell_sees_it(fmedge_process, folder, block1, code):
    words, message = CODES[code]
    settings = {"FMEDGE_WEIGHTS": "untrained", "FMEDGE_MODELS": str(block1.path.parent)}
    if code == 5:  # a Plotly that holds nothing
        settings["PYTHONPATH"] = os.pathsep.join([str(folder / "without"), str(ROOT)])
    said = fmedge_process(*words, code=code, **settings)
    assert message in said.stderr
    assert "Traceback" not in said.stderr
    if code != 9:
        assert said.stderr.startswith("Error: ")
        assert said.stderr.count("\n") == 1


def test_every_code_is_gone_through():
    def kinds(kind):
        yield kind
        for each in kind.__subclasses__():
            yield from kinds(each)

    assert {kind.exit_code for kind in kinds(FmedgeError)} <= {1, *CODES}
