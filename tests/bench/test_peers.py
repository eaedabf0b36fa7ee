"""The benchmarks beside the package: what they found is what the README shows, and a quick pass works."""

import json
import subprocess
import sys

import pytest

from support.places import ROOT

BENCHMARKS = ROOT / "benchmarks"
KEPT = max((BENCHMARKS / "results").glob("20*.json"))


def test_readme_shows_what_was_measured():
    from tables import readme_table

    found = json.loads(KEPT.read_text())
    assert readme_table(found["inference"]) in (ROOT / "README.md").read_text()


def test_page_holds_every_figure(tmp_path):
    pytest.importorskip("plotly")
    from page import render

    found = json.loads(KEPT.read_text())
    content = render(found)
    assert b"{{" not in content.partition(b'<script type="application/json"')[0]
    for row in found["inference"]["rows"]:
        assert f'<td class="word">{row["name"]}</td>'.encode() in content
    assert render({"growth": found["growth"]}).count(b"<h2>") == 2


def test_verdicts():
    from growth import verdicts

    def point(side, milliseconds, megabytes):
        sizes = {"size": [side, side], "batch": 1, "threads": 2}
        figures = {"median_s": milliseconds / 1e3, "peak_bytes": megabytes * 10**6}
        return {"axis": "pixels", "layer": "block1_conv1", "backend": "ncnn", **sizes, **figures}

    even = [point(112, 9, 50), point(224, 1, 60), point(448, 4, 90), point(896, 16, 210)]
    assert [each["met"] for each in verdicts(even)] == [True, True]
    uneven = [*even[:-1], point(896, 20, 400)]
    assert [each["met"] for each in verdicts(uneven)] == [False, False]


@pytest.mark.slow
def test_quick_pass(tmp_path):
    from peers import PEERS

    missing = [peer.name for peer in PEERS if not peer.installed]
    if len(missing) == len(PEERS):
        pytest.skip("no peer is installed: pip install '.[cpu,openvino,litert,ncnn,export,peers]'")
    words = ["--part", "inference", "--quick", "--layer", "block1_conv1", "--results", tmp_path]
    command = [sys.executable, BENCHMARKS / "all.py", *words]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert "| fmedge |" in ran.stdout
    rows = json.loads((tmp_path / "all.json").read_text())["inference"]["rows"]
    assert {row["name"] for row in rows} == {"fmedge"} | {peer.name for peer in PEERS} - set(missing)
    assert min(row["snr_db"] for row in rows) > 100
    assert (tmp_path / "all.html").stat().st_size > 1_000_000
