"""Which package may import which, looked at in fresh interpreters."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "fmedge").rglob("*.py")
    if path.name != "__main__.py"
)

HEAVY = {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "plotly", "h5py", "PIL", "numpy", "typer", "ncnn"}

LIGHT = {
    "fmedge",
    "fmedge.errors",
    "fmedge.model.vgg16",
    "fmedge.model.submodel",
    "fmedge.model.preprocessing",
    "fmedge.model.keras_input",
    "fmedge.system.files",
    "fmedge.system.address_space",
    "fmedge.system.prefetch",
    "fmedge.data.image_list",
    "fmedge.workflow.output_paths",
    "fmedge.data.page_options",
    "fmedge.model.download",
    "fmedge.system.stderr",
    "fmedge.system.progress",
    "fmedge.system.install",
    "fmedge.model.known_models",
    "fmedge.model.run_options",
}
"""Modules that import nothing but the standard library."""


TENSORFLOW = (
    "fmedge.export.keras_",
    "fmedge.export.onnx.tf2onnx_route",
    "fmedge.export.tf_",
    "fmedge.export.tflite.converter",
)
"""Modules that are imported only where an export goes through TensorFlow."""


def allowed(module):
    if module in LIGHT:
        return set()
    if module.startswith("fmedge.cli"):
        return {"typer"}
    if module.startswith(TENSORFLOW):
        return HEAVY
    extra = {
        "fmedge.export.onnx.direct": {"onnx"},
        "fmedge.export.onnx.int8": {"onnx"},
        "fmedge.export.onnx.file": {"onnx"},
        "fmedge.export.onnx.float16": {"onnx"},
        "fmedge.export.onnx.passes": {"onnx"},
        "fmedge.runtime.engines.litert_engine": {"ai_edge_litert"},
        "fmedge.runtime.engines.openvino_engine": {"openvino"},
        "fmedge.runtime.engines.ncnn_engine": {"ncnn"},
        "fmedge.model.h5_weights": {"h5py"},
        "fmedge.model.keras_config": {"h5py"},
        "fmedge.runtime.engines.onnxruntime_engine": {"onnxruntime"},
    }
    room = module if module in extra else module.rpartition(".")[0]
    return {"numpy", "PIL"} | extra.get(room, set())


@pytest.fixture(scope="module")
def loaded():
    """What each module brings along: heavy packages, and packages of ours.

    Modules that may bring TensorFlow share one interpreter: each alone would take seconds.
    """
    script = (
        "import importlib,json,sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps([m for m in sys.modules if m.startswith('fmedge') or '.' not in m]))"
    )
    slow = tuple(module for module in MODULES if module.startswith(TENSORFLOW))
    running = {
        modules: subprocess.Popen([sys.executable, "-c", script, *modules], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for modules in [slow, *((module,) for module in MODULES if module not in slow)]
    }
    found = {modules: set(json.loads(process.communicate()[0])) for modules, process in running.items()}
    return {module: names for modules, names in found.items() for module in modules}


def test_heavy_packages_come_only_where_they_are_used(loaded):
    found = {module: (names & HEAVY) - allowed(module) for module, names in loaded.items()}
    assert {module: names for module, names in found.items() if names} == {}


def test_arrows(loaded):
    forbidden = {
        "fmedge.runtime": (
            "fmedge.export",
            "fmedge.render",
            "fmedge.workflow.artifacts",
            "fmedge.workflow.pipeline",
            "fmedge.cli",
        ),
        "fmedge.export": (
            "fmedge.runtime",
            "fmedge.render",
            "fmedge.workflow.artifacts",
            "fmedge.workflow.pipeline",
            "fmedge.cli",
        ),
        "fmedge.render": (
            *("fmedge.export", "fmedge.runtime", "fmedge.workflow.artifacts", "fmedge.workflow.pipeline", "fmedge.cli"),
            "fmedge.bench",
        ),
        "fmedge.workflow.request": (
            *(
                "fmedge.export",
                "fmedge.runtime",
                "fmedge.render",
                "fmedge.workflow.artifacts",
                "fmedge.workflow.pipeline",
                "fmedge.cli",
            ),
        ),
        "fmedge.workflow.artifacts": (
            "fmedge.export",
            "fmedge.runtime",
            "fmedge.render",
            "fmedge.workflow.pipeline",
            "fmedge.cli",
        ),
        "fmedge.workflow.pipeline": ("fmedge.export", "fmedge.cli", "fmedge.bench"),
        "fmedge.bench": ("fmedge.export", "fmedge.cli"),
        "fmedge.data.measurement": (
            "fmedge.export",
            "fmedge.runtime",
            "fmedge.render",
            "fmedge.workflow.artifacts",
            "fmedge.bench",
        ),
        "fmedge.data.bench_report": (
            "fmedge.export",
            "fmedge.runtime",
            "fmedge.render",
            "fmedge.workflow.artifacts",
            "fmedge.bench",
        ),
        "fmedge.cli": (
            *(
                "fmedge.export",
                "fmedge.runtime",
                "fmedge.render",
                "fmedge.workflow.artifacts",
                "fmedge.workflow.pipeline",
            ),
            *("fmedge.bench.", "fmedge.data.measurement", "fmedge.data.bench_report"),
        ),
    }
    for room, others in forbidden.items():
        for module in [name for name in MODULES if name.startswith(room)]:
            assert [name for name in loaded[module] if name.startswith(others)] == [], module


def test_running_an_artifact_needs_no_exporter(block1, picture, tmp_path):
    script = (
        "import sys\n"
        "from fmedge.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "unwanted = {'tensorflow', 'keras', 'tf2onnx', 'onnx', 'h5py', 'fmedge.export'} & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
        "assert 'onnxruntime' in sys.modules"
    )
    words = ["run", str(picture), "--weights", "untrained", "--models", str(block1.path.parent)]
    output = ["--output", str(tmp_path / "page.html")]
    subprocess.run([sys.executable, "-c", script, *words, *output], check=True, cwd=ROOT)
    assert (tmp_path / "page.html").is_file()


def test_public_names_are_there_and_no_package_hides_them():
    script = (
        "import fmedge, importlib, pkgutil\n"
        "for m in pkgutil.walk_packages(fmedge.__path__, 'fmedge.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "assert all(hasattr(fmedge, name) for name in fmedge.__all__)\n"
        "assert callable(fmedge.extract) and callable(fmedge.render_page)\n"
        "assert not {m.name for m in pkgutil.iter_modules(fmedge.__path__)} & set(fmedge.__all__)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
