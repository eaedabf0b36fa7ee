"""The packages for boards: wheels put together from what is installed, the lock file, and what pip says."""

import base64
import csv
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from importlib.metadata import Distribution, distribution

import pytest

from fmedge.boards import wheels
from fmedge.boards.probe import Python
from fmedge.errors import BackendUnavailable
from support.messages import says
from support.places import ROOT

PI = Python("python3", (3, 11, 2), 64, True, "aarch64", "glibc", (2, 36), "cpython", False)


def test_an_installed_package_becomes_a_wheel_again(tmp_path):
    """pip installs it from there, and every file is the same."""
    wheel = wheels.packed_wheel("platformdirs", tmp_path)
    assert re.fullmatch(r"platformdirs-[\d.]+-py3-none-any\.whl", wheel.name)
    first = wheel.read_bytes()
    assert wheels.packed_wheel("platformdirs", tmp_path).read_bytes() == first
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        tmp_path / "there",
    ]
    subprocess.run([sys.executable, *map(str, words), str(wheel)], check=True, capture_output=True)
    compared = 0
    for each in distribution("platformdirs").files:
        there = tmp_path / "there" / each
        if each.suffix == ".py":
            assert there.read_bytes() == each.locate().read_bytes()
            compared += 1
    assert compared > 3
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("RECORD")]
        rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
        assert sorted(row[0] for row in rows) == sorted(archive.namelist())
        for name, digest, size in rows:
            if name != record:
                data = archive.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={expected}", len(data))


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """A copy of an installed package in which a file can be changed."""
    found = distribution("platformdirs")
    for each in found.files:
        if ".." not in each.parts:
            (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(each.locate(), tmp_path / each)
    copy = Distribution.at(next(tmp_path.glob("*.dist-info")))
    monkeypatch.setattr(wheels, "distribution", lambda _: copy)
    return tmp_path


def test_a_package_that_was_changed_is_not_packed(changed, tmp_path):
    assert wheels.packed_wheel("platformdirs", tmp_path).is_file()
    (changed / "platformdirs" / "unix.py").write_text("evil = 1\n")
    with pytest.raises(BackendUnavailable, check=says("was changed: '.*unix.py'")):
        wheels.packed_wheel("platformdirs", tmp_path)


def test_what_is_not_a_package(tmp_path):
    with pytest.raises(BackendUnavailable, check=says("not installed")):
        wheels.packed_wheel("no-such-package-at-all", tmp_path)


def test_pip_goes_along(tmp_path):
    """Python runs it from the file: tests/cli/test_boards.py does, with --copy-wheels."""
    with zipfile.ZipFile(wheels.pip_wheel(tmp_path)) as archive:
        assert {"pip/__main__.py", "pip/_vendor/certifi/cacert.pem"} <= set(archive.namelist())


def test_the_lock_has_all_that_boards_need():
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"^BOARD_EXTRAS = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    locked = {}
    for line in wheels.lock().splitlines():
        if found := re.match(r"([\w.-]+)==([^\s;]+)", line):
            locked.setdefault(found[1], []).append(found[2])
    for row in (
        *project["dependencies"],
        *(row for extra in extras for row in project["optional-dependencies"][extra]),
    ):
        wanted = requirements.Requirement(row)
        assert all(wanted.specifier.contains(version) for version in locked[wanted.name]), f"{row}: make lock"
    tested = (ROOT / "requirements" / "test.txt").read_text()
    assert all(f"{name}=={version}" in tested for name, versions in locked.items() for version in versions), "make lock"


def test_the_lock_for_one_python():
    old, new = (wheels.lock_for(replace(PI, version=version)) for version in ((3, 11, 2), (3, 13, 0)))
    assert len(re.findall(r"^numpy==", old, re.MULTILINE)) == 1
    assert re.search(r"^numpy==(\S+)", old, re.MULTILINE)[1] != re.search(r"^numpy==(\S+)", new, re.MULTILINE)[1]
    for text in (old, new):
        assert ";" not in text
        assert "colorama" not in text
        assert len(re.findall(r"^[\w.-]+==\S+ \\$", text, re.MULTILINE)) > 30
        assert not re.search(r"\\\n(?=\w)", text)  # every requirement has its hashes


def test_tags():
    tags = wheels.tags_of(PI)
    assert tags.platforms[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(tags.platforms)
    assert (tags.python, tags.abis) == ("311", ("cp311", "abi3", "none"))
    assert wheels.tags_of(replace(PI, machine="AMD64")).platforms[0] == "manylinux_2_36_x86_64"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid", "clock is behind"),
        ("[Errno -3] Temporary failure in name resolution", "there is no network"),
        ("ERROR: No matching distribution found for onnx==1.32.0", "no package for this platform (onnx==1.32.0)"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "not the one that was locked"),
        ("MemoryError", "memory is full"),
        ("first\n\x1b[31mERROR: something else.\n\n", "ERROR: something else"),
        ("", "it says nothing"),
    ],
)  # fmt: skip
def test_what_pip_says(said, meant):
    told = wheels.explain_pip(said)
    assert meant in told
    assert told.isprintable()
