"""Sessions and forked processes: a child opens its own, and leaves those of its parent alone."""

import json
import os
import subprocess
import sys

import pytest

from fmedge import export_submodel
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.backends import BACKENDS, find_backend

pytestmark = pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="no fork on this system")

_PROGRAM = """
import json, os, pathlib, signal, sys
import numpy as np
import fmedge

path, backend, end = sys.argv[1:]
run = fmedge.RunOptions(backend, threads=2)
artifact = fmedge.read_artifact(pathlib.Path(path))
images = np.full((1, 32, 32, 3), 7, np.uint8)
left_open = fmedge.open_session(artifact, run)
wanted = left_open.run(images)
child = os.fork()
if child == 0:
    signal.alarm(50)
    said = {}
    try:
        left_open.run(images)
    except fmedge.FmedgeError as error:
        said["inherited"] = error.in_full()
    left_open.close()
    with fmedge.open_session(artifact, run) as own:
        said["equal"] = all((own.run(images)[tap] == maps).all() for tap, maps in wanted.items())
    print(json.dumps(said), flush=True)
    if end == "os._exit":
        os._exit(0)
    sys.exit(0)
_, status = os.waitpid(child, 0)
left_open.run(images)  # the parent's own goes on
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small model per kind of file that an engine is here for."""
    folder = tmp_path_factory.mktemp("models")
    here = {form for row in BACKENDS if row.installed for form in row.formats}
    return {
        form: export_submodel(
            "block1_conv2", weights="untrained", models=folder, options=ExportOptions(form, size=(32, 32))
        ).path
        for form in here
    }


@pytest.mark.few(5)
@pytest.mark.parametrize("end", ["os._exit", "sys.exit"])
@pytest.mark.parametrize("row", BACKENDS, ids=lambda row: row.name)
def test_a_forked_child_opens_its_own_and_never_hangs(row, end, models):
    if not row.installed:
        pytest.skip(f"{row.name} is not installed")
    command = [sys.executable, "-c", _PROGRAM, str(models[row.formats[0]]), row.name, end]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["equal"]
    assert "before this process was forked" in said["inherited"]
    assert "spawn" in said["inherited"]


_POOL = """
import multiprocessing, sys
import fmedge

photo, models, backend = sys.argv[1:]
run = fmedge.RunOptions(backend, threads=2)

def largest(photo):
    return float(fmedge.extract(photo, "block1_conv2", weights="untrained", models=models, run=run).maps.max())

wanted = largest(photo)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(largest, [photo] * 4).get(50) == [wanted] * 4
"""


@pytest.mark.few(2)
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "ncnn", "native"])
def test_a_fork_pool_extracts_after_its_parent_did(backend, tmp_path):
    if not find_backend(backend).installed:
        pytest.skip(f"{backend} is not installed")
    from PIL import Image

    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 30), (200, 100, 50)).save(photo)
    command = [sys.executable, "-c", _POOL, str(photo), str(tmp_path / "models"), backend]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
