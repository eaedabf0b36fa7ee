"""A program that calls the library finds its process as it was, while calls run and after them."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from fmedge.runtime.backends import BACKENDS
from support.places import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into Linux' /proc")


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "name",
    ["native", "onnxruntime", "openvino", "ncnn", pytest.param("tensorflow", marks=pytest.mark.slow)],
)
def test_nothing_of_the_process_changes(name, tmp_path):
    needed = "litert" if name == "tensorflow" else name
    if not next(row for row in BACKENDS if row.name == needed).installed:
        pytest.skip(f"{needed} is not installed")
    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 30), (200, 100, 50)).save(photo)
    program = ROOT / "tests" / "support" / "guest_program.py"
    command = [sys.executable, str(program), str(photo), str(tmp_path), name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["looks"] > 10
    assert (seen["during"], seen["after"]) == ([], [])
