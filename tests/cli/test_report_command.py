"""``fmedge report``, as a user types it."""

import json

import pytest

from fmedge.bench.report_formats import FORMS
from support.measurements import measurement, report


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with reports."""
    for name in ("pi.json", "desk.json", "other/pi.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(report(measurement()).to_dict()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_machines_are_called_by_their_files(folder, fmedge_inprocess):
    said = fmedge_inprocess("report", "pi.json", "desk.json", "--output", "boards.html")
    assert said.stdout == "boards.html\n"
    assert b"measured on pi, desk</h1>" in (folder / "boards.html").read_bytes()
    fmedge_inprocess("report", "pi.json", "other/pi.json")
    assert b"measured on pi.json, other/pi.json</h1>" in (folder / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing.json"], 2, "fmedge bench --output nothing.json"),
        (["pi.json", "./pi.json"], 2, "given twice"),
        (["pi.json", "--output", "page.txt"], 2, "ends in .html"),
        (["pi.json", "--output", "nowhere/page.html"], 6, "does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder, words, code, message, fmedge_inprocess):
    said = fmedge_inprocess("report", *words, code=code)
    talk = said.stderr
    assert message in talk
    assert talk.count("\n") == 1
    assert not list(folder.glob("*.html"))


@pytest.mark.parametrize("second", ["NaN", "Infinity", "1e999", "-1", "0"])
def test_a_time_that_is_none_is_refused(folder, second, fmedge_inprocess):
    text = (folder / "pi.json").read_text().replace("0.0105", second, 1)
    (folder / "pi.json").write_text(text)
    said = fmedge_inprocess("report", "pi.json", code=2)
    assert "Measure again" in said.stderr


def test_bench_writes_the_same_page(folder):
    assert "measured on Some CPU</h1>" in FORMS[".html"](report(measurement()))
