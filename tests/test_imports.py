"""What an import brings along, looked at in fresh interpreters; who may import whom says pyproject.toml."""

import json
import subprocess
import sys

import pytest

import fmedge
from support.places import ROOT

HEAVY = {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "plotly", "h5py", "PIL", "numpy", "typer", "ncnn"}

BRINGS = {
    "fmedge": set(),
    "fmedge.cli.main": set(),
    "fmedge.cli.app": {"typer"},
    "fmedge.data.page_options": set(),
    "fmedge.errors": set(),
    "fmedge.model.preprocessing": set(),
    "fmedge.model.run_options": set(),
    "fmedge.model.submodel": set(),
    "fmedge.model.stock": set(),
}
"""What modules of the public face, and the command's, may bring along, where that is not NumPy and Pillow."""

MODULES = sorted({*BRINGS, *fmedge._HOMES.values()})


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_come_only_where_they_are_used(module):
    script = f"import json, sys, {module}; print(json.dumps([*sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert HEAVY & set(json.loads(ran.stdout)) <= BRINGS.get(module, {"numpy", "PIL"})


def test_running_an_artifact_needs_no_exporter(block1, picture, tmp_path):
    script = (
        "import sys\n"
        "from fmedge.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "unwanted = {'tensorflow', 'keras', 'tf2onnx', 'onnx', 'h5py', 'fmedge.export'} & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
        "assert 'onnxruntime' in sys.modules"
    )
    words = ["run", str(picture), "--weights", "untrained", "--models", str(block1.path.parent), "--format", "onnx"]
    output = ["--output", str(tmp_path / "page.html")]
    subprocess.run([sys.executable, "-c", script, *words, *output], check=True, cwd=ROOT)
    assert (tmp_path / "page.html").is_file()


def test_public_names_are_there_and_no_package_hides_them():
    script = (
        "import fmedge, importlib, pkgutil\n"
        "for m in pkgutil.walk_packages(fmedge.__path__, 'fmedge.'):\n"
        "    try:\n"
        "        m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        assert error.name == 'fmedge_native', error  # an engine that need not be there\n"
        "assert all(hasattr(fmedge, name) for name in fmedge.__all__)\n"
        "assert callable(fmedge.extract) and callable(fmedge.render_page)\n"
        "assert not {m.name for m in pkgutil.iter_modules(fmedge.__path__)} & set(fmedge.__all__)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


TOOLS = ("arm64.maxima", "bounds_table", "cpus.table", "planted_faults")
"""Programs beside the suite, which it does not run."""


@pytest.mark.parametrize("module", TOOLS)
def test_programs_beside_the_suite_find_what_they_import(module):
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=ROOT / "tests")
