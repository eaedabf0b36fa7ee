"""What is locked fits what is asked for, what is shipped is said, and the wheel is the same every time."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec

import pytest

from fmedge.render import plotly_js
from support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNLOCKED = ("native", "gpu", "peers", "fuzz", "browsers")
"""Extras that make test does not install."""

LOCKS = {
    "demo": [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cpu"]],
    "test": [
        *PROJECT["dependencies"],
        *(each for extra, rows in PROJECT["optional-dependencies"].items() if extra not in UNLOCKED for each in rows),
    ],
}


def entries(name):
    """Each locked distribution: name, version, hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        found = re.match(r"([\w.-]+)==([^\s;]+)", line)
        assert found, line
        yield found[1].lower(), found[2], re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", line)


@pytest.mark.parametrize("name", LOCKS)
def test_everything_that_is_asked_for_is_locked(name):
    """`make lock` was run after the last change of the requirements."""
    requirements = pytest.importorskip("packaging.requirements")
    locked = {}
    for distribution, version, hashes in entries(name):
        assert hashes, distribution
        locked.setdefault(distribution, []).append(version)
    for row in LOCKS[name]:
        wanted = requirements.Requirement(row)
        assert wanted.name in locked, f"{wanted.name}: make lock"
        assert all(wanted.specifier.contains(version) for version in locked[wanted.name]), f"{row}: make lock"
    assert {"hatchling", "editables"} <= set(locked)


def test_what_builds_the_native_library_is_locked_apart():
    """Neither runs nor tests need it; what they share with it has the same version."""
    requirements = pytest.importorskip("packaging.requirements")
    locked = {name: version for name, version, hashes in entries("native") if hashes}
    rows = (ROOT / "requirements" / "native.in").read_text().splitlines()
    asked = [requirements.Requirement(row) for row in rows if not row.startswith("#")]
    assert {each.name for each in asked} == {"cmake", "ninja", "scikit-build-core"}
    for each in asked:
        assert each.specifier.contains(locked[each.name]), f"{each.name}: make lock"
    tested = {name: version for name, version, _ in entries("test")}
    assert not {each.name for each in asked} & set(tested)
    assert all(tested.get(name, version) == version for name, version in locked.items())
    build_system = tomllib.loads((ROOT / "native" / "pyproject.toml").read_text())["build-system"]
    assert build_system["requires"] == [str(each) for each in asked if each.name == "scikit-build-core"]
    assert "fmedge-native" not in tested


def test_pnnx_is_locked_alone():
    """It asks for PyTorch, which it does not need here."""
    requirements = pytest.importorskip("packaging.requirements")
    wanted = requirements.Requirement((ROOT / "requirements" / "pnnx.in").read_text().splitlines()[-1])
    ((name, version, hashes),) = entries("pnnx")
    assert name == wanted.name == "pnnx"
    assert wanted.specifier.contains(version)
    assert hashes
    assert "torch" not in {name for name, _, _ in entries("test")}


def test_a_run_has_what_was_tested():
    tested = {(name, version) for name, version, _ in entries("test")}
    assert {(name, version) for name, version, _ in entries("demo")} <= tested


def test_no_address_is_locked():
    for path in (ROOT / "requirements").iterdir():
        if path.is_file():
            assert not re.search(r"https?://|--(extra-)?index-url|find-links", path.read_text()), path.name


def test_the_bill_of_materials_and_the_licences_say_what_is_locked():
    from fmedge import __version__

    bill = json.loads((ROOT / "requirements" / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["version"] == __version__
    listed = [(each["name"], each["version"]) for each in bill["components"]]
    bundle = ("plotly.js-cartesian-dist-min", plotly_js.prepare().version)
    assert sorted(listed) == sorted([*((name, version) for name, version, _ in entries("demo")), bundle])
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"][0]["dependsOn"] == references
    table = (ROOT / "docs" / "licences.md").read_text()
    for name, version, *_ in (*entries("native"), *entries("test"), *entries("pnnx"), bundle):
        (row,) = re.findall(rf"^\| {re.escape(name)} \| (.*)$", table, re.MULTILINE)
        assert version in row


def test_who_cites_names_the_version():
    from fmedge import __version__

    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == __version__
    assert f"license: {PROJECT['license']}\n" in (ROOT / "CITATION.cff").read_text()
    assert (ROOT / "native" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert f"## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_floors_say_why():
    text = (ROOT / "pyproject.toml").read_text()
    for name in ("pillow", "onnx", "h5py", "keras"):
        before, found, _ = text.partition(f'"{name}>=')
        assert found
        comment = before.rstrip().rpartition('\n  "')[2] if name != "h5py" else before.rpartition("dependencies")[2]
        assert re.search(r"CVE-\d{4}-\d+", comment), name


def build(folder, epoch, checkout=ROOT):
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONPATH": ""}
    subprocess.run(words, cwd=checkout, env=environment, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.iterdir()
    return wheel


def test_the_wheel_is_the_same_to_the_byte_and_holds_the_bill(tmp_path):
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: it is in requirements/test.txt")
    first, second = build(tmp_path / "a", 1_700_000_000), build(tmp_path / "b", 1_700_000_000)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as wheel:
        (bill,) = [name for name in wheel.namelist() if name.endswith(".dist-info/sboms/sbom.cdx.json")]
        assert wheel.read(bill) == (ROOT / "requirements" / "sbom.cdx.json").read_bytes()
        assert not [name for name in wheel.namelist() if name.startswith(("tests", "requirements"))]


def test_the_wheel_holds_what_git_knows_and_nothing_else(tmp_path):
    """A checkout with files that happen to lie there: of names that patterns would take for others, too."""
    if find_spec("hatchling") is None or not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout, or no git or hatchling")
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, known.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "copy" / name)
    for words in (["init", "-q"], ["add", "-A", "-f"]):
        subprocess.run(["git", *words], cwd=tmp_path / "copy", check=True, capture_output=True)
    strays = (
        ".env",
        "notes.txt",
        "render/stray.py",
        "more/__init__.py",
        "model.onnx",
        "*.py",
        "[a-z]*",
        "!a",
        " b ",
        "#c",
    )
    for name in strays:
        path = tmp_path / "copy" / "fmedge" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("stray = 1\n")
    with zipfile.ZipFile(build(tmp_path / "dirty", 0, tmp_path / "copy")) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("fmedge/")}
    assert packed == {name for name in known.split("\0") if name.startswith("fmedge/")}
