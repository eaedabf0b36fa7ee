"""The package of fmedge's own kernels: what it holds, and what a little of the harness says of its library."""

import ctypes
import os
import re
import shutil
import struct
import subprocess
import tomllib

import numpy as np
import pytest

from support.places import ROOT

NATIVE = ROOT / "native"


@pytest.fixture(scope="module")
def package():
    return pytest.importorskip("fmedge_native", reason="fmedge_native is not installed: make native")


def compiled(tmp_path, package, tool, variable, source, *options):
    """A program of the checkout, linked against the installed library."""
    compiler = os.environ.get(variable) or tool
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    library, program = package.library_path(), tmp_path / "program"
    include = package.sources_path() / "include"
    words = [compiler, *options, f"-I{include}", str(source), str(library), f"-Wl,-rpath,{library.parent}", "-lm"]
    subprocess.run([*words, "-o", str(program)], check=True, timeout=300)
    return program


def test_one_version_everywhere():
    """Whoever raises it does so in CMake and in Python."""
    (built,) = re.findall(r"project\(fmedge_chain VERSION ([\d.]+)", (NATIVE / "CMakeLists.txt").read_text())
    (imported,) = re.findall(r'__version__ = "(.+)"', (NATIVE / "python/fmedge_native/__init__.py").read_text())
    assert built == imported


def test_its_python_is_that_of_fmedge():
    ours, its = (tomllib.loads((place / "pyproject.toml").read_text())["project"] for place in (ROOT, NATIVE))
    assert its["license"] == ours["license"]
    assert ours["requires-python"].startswith(its["requires-python"])


def test_the_library_is_that_of_the_header(package):
    library = ctypes.CDLL(str(package.library_path()))
    (abi,) = re.findall(r"#define FMEDGE_CHAIN_ABI (\d+)", (NATIVE / "include/fmedge_chain.h").read_text())
    assert library.fmedge_chain_abi() == int(abi)
    library.fmedge_chain_kernels_name.restype = ctypes.c_char_p
    assert library.fmedge_chain_kernels_name(library.fmedge_chain_best()) in {b"plain", b"avx2", b"avx512", b"neon"}


def test_the_sources_are_whole(package):
    """What a board needs to build it: everything but tests and what is for Python."""
    shipped = {path.relative_to(package.sources_path()) for path in package.sources_path().rglob("*") if path.is_file()}
    places = ("cmake", "example", "include", "src")
    known = {path.relative_to(NATIVE) for place in places for path in (NATIVE / place).rglob("*") if path.is_file()}
    assert {str(path) for path in shipped - known} == {"CMakeLists.txt", "LICENSE", "README.md"}
    assert known <= shipped


def test_a_little_of_the_harness(tmp_path, package):
    """References, guard pages, damaged models, the same bits for any number of threads; make native-test does all."""
    program = compiled(tmp_path, package, "c++", "CXX", NATIVE / "tests/harness.cpp", "-std=c++17", "-O1")
    found = subprocess.run([str(program), "quick"], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    assert found.stdout.endswith("passed: quick\n")


def test_the_example(tmp_path, package):
    """A convolution that hands its channels on: the means of the taps are those of the pixels."""
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[range(3), range(3), 1, 1] = 1
    head = struct.pack("<8s4I2Q24x", b"FMCHAIN1", 1, 3, 0, 0, 96, 96 + 12 + 324 + 12)
    layer = struct.pack("<4I2Q", 1, 3, 2, 0, 108, 432)
    mean = np.array([1, 2, 3], np.float32)
    (tmp_path / "model").write_bytes(
        head + layer + mean.tobytes() + kernel.tobytes() + np.zeros(3, np.float32).tobytes()
    )
    pixels = np.random.default_rng(7).integers(0, 256, (10, 14, 3), np.uint8)
    (tmp_path / "image").write_bytes(pixels.tobytes())
    program = compiled(
        tmp_path,
        package,
        "cc",
        "CC",
        NATIVE / "example/main.c",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
    )
    words = [str(program), str(tmp_path / "model"), "10", "14"]
    printed = subprocess.run(
        [*words, str(tmp_path / "image")], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    found = re.fullmatch(r"tap 0: 3 x 10 x 14, mean (\S+), greatest (\S+), \w+ bits [0-9a-f]{16}\n", printed)
    assert found, printed
    assert float(found[1]) == pytest.approx((pixels - mean).mean(), rel=1e-3)
    assert float(found[2]) == pytest.approx((pixels - mean).max(), rel=1e-3)
    made_up = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    assert made_up != printed
    wrong = subprocess.run(
        [*words[:2], "11", "14", str(tmp_path / "image")], capture_output=True, text=True, timeout=60
    )
    assert (wrong.returncode, wrong.stderr) == (2, "The model takes uint8 images; this size takes 462 bytes.\n")
