"""What the processor can do, and which libraries need more."""

import platform
import sys

import pytest

from fmedge.cli.main import main
from fmedge.errors import BackendUnavailable, ProviderUnavailable
from fmedge.system import processor
from fmedge.system.processor import (
    NEEDS,
    X86_64_V2,
    missing_features,
    processor_features,
    require_processor,
    sums_saturate,
)


@pytest.fixture
def nehalem(monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(processor, "processor_features", lambda: frozenset(X86_64_V2))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_the_processor_and_the_kernel_agree(monkeypatch):
    """Under emulation the kernel's list is that of the host: ``make test-cpus`` leaves this test out."""
    asked = processor_features()
    if sys.platform != "linux":
        pytest.skip("nothing but the system tells here")
    known = set(processor._CPUID) if platform.machine() == "x86_64" else set(processor._HWCAP)
    monkeypatch.setattr(processor, "_ask_cpuid", frozenset)
    monkeypatch.setattr(processor, "_ask_hwcap", frozenset)
    assert asked & known == processor_features() & known


def test_where_nothing_answers_the_kernel_is_asked(tmp_path, monkeypatch):
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    monkeypatch.setattr(processor, "_CPUINFO", listed)
    monkeypatch.setattr(processor, "_ask_cpuid", frozenset)
    monkeypatch.setattr(processor, "_ask_hwcap", frozenset)
    assert processor_features() == {"fpu", "avx2", "avx_vnni"}
    assert sums_saturate("x86_64", processor_features()) is False
    listed.unlink()
    assert processor_features() == frozenset()
    assert sums_saturate("x86_64", processor_features()) is None


def test_what_is_missing_is_named(nehalem):
    assert missing_features("NumPy") == ()
    with pytest.raises(BackendUnavailable, match=r"^TensorFlow needs AVX, which this processor does not have\."):
        require_processor("TensorFlow")


LITERTS_GPU = {
    "Celeron": ("x86_64", frozenset(X86_64_V2), "AVX"),
    "Core of 2011": ("x86_64", frozenset((*X86_64_V2, "avx")), None),
    "Raspberry Pi 4": ("aarch64", frozenset(("fp", "asimd")), "ATOMICS"),
    "Raspberry Pi 5": ("aarch64", frozenset(("fp", "asimd", "atomics", "asimddp")), None),
}


@pytest.mark.parametrize(("architecture", "features", "lacking"), LITERTS_GPU.values(), ids=LITERTS_GPU)
def test_literts_gpu(architecture, features, lacking, block1, monkeypatch):
    """Opening its libraries would end the process with a signal."""
    backend = pytest.importorskip("fmedge.runtime.engines.litert_engine", reason="needs LiteRT", exc_type=ImportError)
    monkeypatch.setattr(processor, "processor_features", lambda: features)
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    assert missing_features("LiteRT's GPU") == ((lacking.lower(),) if lacking else ())
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    if lacking:
        with pytest.raises(ProviderUnavailable, match=f"^LiteRT's GPU needs {lacking}, which this processor does not"):
            backend.open_compiled(block1, "GPU")


def test_nobody_is_refused_where_the_system_does_not_say(monkeypatch):
    monkeypatch.setattr(processor, "processor_features", frozenset)
    for library in NEEDS:
        require_processor(library)


def test_exports_by_tensorflow_are_refused_before_it_is_imported(nehalem, tmp_path, capsys):
    words = ["export", "--weights", "untrained", "--converter", "tf2onnx", "--models", str(tmp_path)]
    assert main(words) == 5
    assert capsys.readouterr().err == (
        "Error: TensorFlow needs AVX, which this processor does not have. To see what runs here: fmedge doctor.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_numpy_on_a_processor_before_x86_64_v2(monkeypatch, capsys):
    """NumPy reports it with a RuntimeError; seen on qemu-user's Penryn."""

    def unfit(words):
        raise RuntimeError("NumPy was built with baseline optimizations: (X86_V2) but your machine doesn't support it.")

    monkeypatch.setattr(processor, "processor_features", lambda: frozenset(("ssse3", "sse4_1", "cx16")))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(sys.modules["fmedge.cli.main"], "read_quickly", unfit)
    assert main(["run", "photo.jpg"]) == 5
    assert "NumPy needs POPCNT, SSE4_2" in capsys.readouterr().err


KERNELS = {"Haswell": "AVX2, FMA", "SANDYBRIDGE": "AVX", "Nehalem": None, "": None, "of somebody else": None}


@pytest.mark.parametrize(("asked", "lacking"), KERNELS.items(), ids=KERNELS)
def test_kernels_that_openblas_is_told_to_use(asked, lacking, nehalem, monkeypatch, capsys):
    """OpenBLAS does not check the processor: importing NumPy would end the process with a signal."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", asked)
    assert main(["info", "no-such-model.onnx"]) == (5 if lacking else 4)
    said = f"OPENBLAS_CORETYPE={asked} makes NumPy use {lacking}, which this processor does not have. Unset it."
    assert (capsys.readouterr().err == f"Error: {said}\n") is bool(lacking)
    assert main(["layers"]) == 0
