"""What documents and sources name is there."""

import re

import pytest

from support.places import ROOT

FOLDERS = ("fmedge", "tests", "benchmarks", "examples", "requirements", "docs", "native", ".github")
FILES = {
    path.relative_to(ROOT).as_posix()
    for place in (ROOT, *(ROOT / name for name in FOLDERS))
    for path in (place.glob("*") if place == ROOT else place.rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
}
DOCUMENTS = sorted(name for name in FILES if name.endswith(".md") and name != "CHANGELOG.md")
SOURCES = sorted(name for name in FILES if name.endswith((".py", ".toml", ".yml", ".yaml", ".cff")))
NOT_OURS = {"Node.js", "plotly.js", "plotly.min.js"}


def is_there(name):
    """Whether a file's name, or the end of its path, is that of a file of ours."""
    return name in NOT_OURS or any(f"/{path}".endswith(f"/{name}") for path in FILES)


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "docs/architecture.md"])
def test_documents_name_files_that_exist(document):
    named = re.findall(r"(?<![\w/.<>*-])[\w./-]*\w\.(?:py|js|css|sh)\b", (ROOT / document).read_text())
    assert not [name for name in named if not is_there(name) and not re.search(r"(^|/)[A-Z]+_\w+\.py$", name)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_link_to_files_that_exist(document):
    links = re.findall(r"\]\((?!https?://)([^)#\s]+)", (ROOT / document).read_text())
    assert not [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]


def test_tests_that_documents_name_exist():
    for document in DOCUMENTS:
        for name, test in re.findall(r"([\w/]+\.py)::(test_\w+)", (ROOT / document).read_text()):
            (path,) = [path for path in FILES if path.endswith(f"tests/{name}")]
            assert f"def {test}(" in (ROOT / path).read_text(), f"{document}: {name}::{test}"


def test_sources_name_files_that_exist():
    for source in SOURCES:
        text = (ROOT / source).read_text(encoding="utf-8")
        for name in re.findall(r"(?<![\w/.-])((?:fmedge|tests|benchmarks|docs)/[\w/]+\.(?:py|md|js))\b", text):
            assert name in FILES, f"{source}: {name}"
