"""The folder for machines without Python: built and run as its reader does, refused, replaced, and never half there."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from fmedge.export.native import runtime_folder as folders
from fmedge.model.artifact import artifact_paths, read_artifact
from fmedge.model.submodel import ExportOptions, Format
from fmedge.runtime import backends
from fmedge.system import folders as writing
from fmedge.system.folders import RECORD
from fmedge.workflow.request import request_artifact
from fmedge.workflow.runtime_folders import create_runtime_folder
from support.models import artifact_for

NAME = "block1_conv1+block1_pool.relu.fp32.untrained.36x44"
EXPORT = ("export", "--format", "native", "--weights", "untrained", "--size", "36x44", "--no-verify", "--with-runtime")
TAPS = ("--layer", "block1_conv1+block1_pool")


@pytest.fixture(scope="module", autouse=True)
def _package():
    pytest.importorskip("fmedge_native", reason="fmedge_native is not installed: make native")


@pytest.fixture(scope="module")
def artifact(untrained_models):
    options = ExportOptions(Format.NATIVE, size=(36, 44))
    request = request_artifact(
        "block1_conv1+block1_pool", weights="untrained", models=untrained_models, options=options
    )
    return artifact_for(request)


@pytest.fixture
def copy(artifact, tmp_path):
    """The artifact in a folder of the test's own."""
    for path in artifact_paths(artifact.path, Format.NATIVE):
        shutil.copy(path, tmp_path)
    return read_artifact(tmp_path / artifact.path.name)


def run(*words, cwd, code=0):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def require_tools(*names):
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"there is no {name}")


def test_built_and_run_without_python(fmedge_inprocess, tmp_path):
    """What the README of the folder says, with a model of two taps; but nothing is optimised, which takes a quarter."""
    require_tools("cmake", "c++", "cc", "ctest")
    said = fmedge_inprocess(*EXPORT, *TAPS)
    model, folder = said.stdout.split()
    assert folder == f"models/{NAME}.runtime"
    assert f"Next: copy '{folder}' to the other machine" in said.stderr
    folder = tmp_path / folder
    assert (folder / f"{NAME}.fmchain").read_bytes() == (tmp_path / model).read_bytes()
    readme = (folder / "README.txt").read_text()
    assert f"    build/example {NAME}.fmchain 36 44\n" in readme
    assert "block1_conv1, block1_pool (relu), untrained weights, 36 x 44 pixels." in readme
    folder = folder.rename(tmp_path / "elsewhere")
    quick = tmp_path / "quick"
    quick.write_text('#!/bin/sh\nexec "$@" -O0\n')
    quick.chmod(0o755)
    run("cmake", "-B", "build", "-S", ".", f"-DCMAKE_CXX_COMPILER_LAUNCHER={quick}", cwd=folder)
    run("cmake", "--build", "build", "--parallel", "2", cwd=folder)
    printed = run("build/example", f"{NAME}.fmchain", "36", "44", cwd=folder)
    assert re.match(r"tap 0: 64 x 36 x 44, mean \S+, greatest \S+, \w+ bits [0-9a-f]{16}\ntap 1: 64 x 18 x 22", printed)
    assert "100% tests passed" in run("ctest", "--test-dir", "build", cwd=folder)
    require_told(folder, printed)


def test_the_same_library_prints_the_same_bits(copy):
    import fmedge_native

    require_tools("cc", "sha256sum")
    folder, library = create_runtime_folder(copy), fmedge_native.library_path()
    run("sha256sum", "--check", "--quiet", RECORD, cwd=folder)
    example = ("fmedge_chain/example/main.c", "-Ifmedge_chain/include", str(library), f"-Wl,-rpath,{library.parent}")
    run("cc", "-std=c99", *example, "-o", "example", cwd=folder)
    printed = run("./example", copy.path.name, "36", "44", cwd=folder)
    assert printed == (folder / "expected.txt").read_text()


def require_told(folder, printed):
    """Check that the example allows what kernels differ in, and nothing else."""
    lines = printed.splitlines()
    (shape, mean, greatest, kernels) = lines[0].split(", ")
    value = float(mean.split()[1])
    cases = {
        f"{shape}, mean {value * 1.0008:.6g}, {greatest}, neon bits 0": 0,
        f"{shape}, mean {value * 1.003:.6g}, {greatest}, {kernels}": 1,
        f"{shape}, {mean}, greatest {float(greatest.split()[1]) * 0.99:.4g}, {kernels}": 1,
        f"{shape.replace('36', '35')}, {mean}, {greatest}, {kernels}": 1,
        f"{shape}, mean nan, {greatest}, {kernels}": 1,
        "": 1,
    }
    for line, differ in cases.items():
        (folder / "other.txt").write_text(f"{line}\n{lines[1]}\n")
        words = ("build/example", f"{NAME}.fmchain", "36", "44", "--check", "other.txt")
        told = run(*words, cwd=folder, code=1 if differ else 0)
        assert differ or told.endswith("2 of 2 taps as expected\n")
    (folder / "other.txt").write_text(lines[0] + "\n")
    assert run(*words, cwd=folder, code=1).endswith("1 of 2 taps as expected\n")


def test_pixels_and_lines(artifact):
    """The formula of the example, and its hash, in whole numbers; a model of floats and of batches gets the same."""
    card = artifact.card
    image = folders.made_up_image(card)
    flat = [(i * i // 7 + i) % 256 for i in range(36 * 44 * 3)]
    np.testing.assert_array_equal(image.ravel(), flat)
    taps = {
        "block1_conv1": np.array([[[[-2, 1.5]], [[3, 0]]]], np.float32),
        "block1_pool": np.array([[[[-1]]]], np.float32),
    }
    bits = taps["block1_conv1"].view(np.uint32).ravel().tolist()
    total = sum(place * value for place, value in enumerate(bits, 1)) % 2**64
    assert folders.expected_lines(card, taps, "plain") == (
        f"tap 0: 2 x 1 x 2, mean 0.625, greatest 3, plain bits {total:016x}\n"
        f"tap 1: 1 x 1 x 1, mean -1, greatest 0, plain bits {0xBF800000:016x}\n"
    )


def test_names_that_cmake_would_read(artifact):
    assert folders._in_cmake('a"b$c;d\\e+f') == 'a\\"b\\$c\\;d\\\\e+f'


def test_data_and_plans_tell_of_it(fmedge_inprocess, tmp_path):
    small = (*EXPORT, "--input", "float32", "--batch", "2")
    name = "block1_conv1.relu.fp32.untrained.float32in.36x44.b2.runtime"
    assert f"and the folder models/{name}" in fmedge_inprocess(*small, "--dry-run").stdout
    (plan,) = json.loads(fmedge_inprocess(*small, "--dry-run", "--json").stdout)
    assert plan["runtime"] == f"models/{name}"
    assert not (tmp_path / "models").exists()
    *paths, data = fmedge_inprocess(*small, "--json").stdout.split("\n", 2)
    assert paths[1] == json.loads(data)[0]["runtime"] == f"models/{name}"
    assert (tmp_path / paths[1] / "expected.txt").read_text().startswith("tap 0: 64 x 36 x 44, mean ")


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_refused_before_any_work(fmedge_inprocess, tmp_path, monkeypatch, words):
    other = fmedge_inprocess(*EXPORT, *words, "--format", "native,onnx", code=2).stderr
    assert other == "Error: --with-runtime needs --format native; this is onnx.\n"
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    missing = fmedge_inprocess(*EXPORT, *words, code=5).stderr
    assert missing.startswith("Error: native is not installed. Install it: pip install ")
    assert missing.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_sources_that_are_missing(fmedge_inprocess, tmp_path, monkeypatch):
    import fmedge_native

    monkeypatch.setattr(fmedge_native, "sources_path", lambda: tmp_path / "gone")
    assert "installed without its sources. Install it anew" in fmedge_inprocess(*EXPORT, code=5).stderr


def test_its_own_folder_is_replaced(copy):
    folder = create_runtime_folder(copy)
    first = content(folder)
    (folder / "expected.txt").unlink()
    (folder / "build" / "deep").mkdir(parents=True)
    (folder / "build" / "CMakeCache.txt").touch()
    (folder / "build" / "deep" / "example").touch()
    assert create_runtime_folder(copy) == folder
    assert content(folder) == first
    assert len(list(folder.parent.iterdir())) == 3


@pytest.mark.parametrize("obstacle", ["file", "link", "empty", "other", "added", "changed", "link in it", "not built"])
def test_whatever_else_has_the_name_stays(copy, fmedge_inprocess, obstacle):
    folder = folders.folder_path(copy.path)
    if obstacle in ("added", "changed", "link in it", "not built", "link"):
        create_runtime_folder(copy)
    match obstacle:
        case "file":
            folder.touch()
        case "link":
            folder.rename(folder.with_name("other"))
            folder.symlink_to("other")
        case "empty":
            folder.mkdir()
        case "other":
            folder.mkdir()
            (folder / "notes.txt").touch()
        case "added":
            (folder / "notes.txt").touch()
        case "changed":
            (folder / "fmedge_chain/example/main.c").write_text("int main(void) {}")
        case "link in it":
            (folder / "README.txt").rename(folder.parent / "kept")
            (folder / "README.txt").symlink_to("../kept")
        case _:
            (folder / "build").mkdir()
            (folder / "build" / "notes.txt").touch()
    before = content(copy.path.parent)
    refused = fmedge_inprocess(*EXPORT, *TAPS, "--models", copy.path.parent, code=6).stderr
    assert refused.startswith(f"Error: Cannot {'write' if obstacle in ('file', 'link') else 'replace'} '{folder}': ")
    assert refused.endswith(" Move it away, or choose another folder: --models DIR.\n")
    assert content(copy.path.parent) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["in the midst", "at the name"])
@pytest.mark.parametrize("former", [False, True])
def test_a_failure_leaves_nothing_half(copy, monkeypatch, error, moment, former):
    folder = folders.folder_path(copy.path)
    if former:
        create_runtime_folder(copy)
    before = content(copy.path.parent)
    holder, name = (writing.Path, "rename") if moment == "at the name" else (writing, "holds")
    real = getattr(holder, name)

    def fail(subject, *rest):
        words = str(subject if moment == "at the name" else subject.name)
        if words.endswith(("/new", "/main.c")):
            raise error
        return real(subject, *rest)

    monkeypatch.setattr(holder, name, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else writing.WriteError
    with pytest.raises(expected) as raised:
        create_runtime_folder(copy)
    if expected is writing.WriteError:
        assert str(raised.value) == f"Cannot write '{folder}': No space left on device."
    assert content(copy.path.parent) == before
    assert folder.exists() == former


def test_what_a_killed_command_left_goes(copy):
    folder = folders.folder_path(copy.path)
    left = folder.with_name(f".{folder.name}.0123456789ab.tmp")
    (left / "new").mkdir(parents=True)
    (left / "new" / "main.c").touch()
    create_runtime_folder(copy)
    assert not left.exists()
