"""The roofline of a sub-model, worked out by hand, and reports in their forms."""

import csv
import io
import json

import pytest

from fmedge.bench.report_formats import FORMS, doubt_lines, require_form
from fmedge.bench.roofline import direct_seconds, measure_pace, measure_yardstick, summarize
from fmedge.bench.worker import _is_steady
from fmedge.data.bench_report import Limit, Missing
from fmedge.errors import UsageError
from fmedge.model.stock import STOCK, VGG16
from support.measurements import measurement, report


def test_a_layer_bound_by_arithmetic():
    macs = 224 * 224 * 9 * 3 * 64
    slow_processor = Limit(1, 1e9, 1e15)
    assert direct_seconds(STOCK[VGG16].through("block1_conv1"), (224, 224), 1, slow_processor) == pytest.approx(
        2 * macs / 1e9
    )
    assert direct_seconds(STOCK[VGG16].through("block1_conv1"), (224, 224), 4, slow_processor) == pytest.approx(
        8 * macs / 1e9
    )


def test_a_layer_bound_by_memory():
    slow_memory = Limit(1, 1e18, 1e9)
    conv = 64 * 64 * 3 + 64 * 64 * 64 * 4 + (27 + 1) * 64 * 4
    assert direct_seconds(STOCK[VGG16].through("block1_conv1"), (64, 64), 1, slow_memory) == pytest.approx(conv / 1e9)
    second = 2 * 64 * 64 * 64 * 4 + (9 * 64 + 1) * 64 * 4
    pool = 64 * 64 * 64 * 4 + 64 * 32 * 32 * 4
    total = direct_seconds(STOCK[VGG16].through("block1_pool"), (64, 64), 1, slow_memory)
    assert total == pytest.approx((conv + second + pool) / 1e9)


def test_the_pace_of_this_machine():
    turns = [measure_pace(1) for _ in range(2)]
    found = summarize(1, turns)
    assert min(turn["flops"] for turn in turns) <= found.flops <= max(turn["flops"] for turn in turns)
    assert found.copy_bytes > 0


def test_warm_up_ends_when_the_median_is_steady():
    assert not _is_steady([0.01] * 9)
    assert _is_steady([0.01] * 10)
    assert not _is_steady([0.02] * 5 + [0.01] * 5)
    assert _is_steady([0.02] * 5 + [0.01] * 5 + [0.0102, 0.5, 0.01, 0.01, 0.01])


def test_forms_hold_the_same_figures():
    whole = report(
        measurement(stages={"decode": (0.1, 0.3), "resize": (0.1, 0.1)}),
        missing=(Missing(measurement(backend="ncnn").configuration, "ended | by signal 9", 7),),
        interrupted=True,
    )
    text = FORMS[".md"](whole)
    assert "| block1_conv1 | onnxruntime | fp32 | 2 | 10.00 |" in text
    assert "| stages, ms | decode | resize | sum |" in text
    assert "200.00 | 100.00 | 300.0 |" in text
    assert "block1_conv1 on ncnn, fp32, 2 threads: failed: ended \\| by signal 9" in text
    assert "Interrupted" in text
    rows = list(csv.DictReader(io.StringIO(FORMS[".csv"](whole))))
    assert float(rows[0]["p50"]) == pytest.approx(0.01)
    assert rows[1]["missing"] == "failed: ended | by signal 9"
    assert json.loads(FORMS[".json"](whole))["measurements"][0]["processes"][0]["turns"][0] == [0.010, 0.0105, 0.010]


def test_doubts_are_told_once_per_kind():
    names = [f"block{block}_conv{number}" for block in range(1, 6) for number in (1, 2)]
    noisy = [measurement(layer=name, turns=((0.01, 0.02) * 9,), others_s=0.3) for name in names]
    lines = doubt_lines(report(*noisy, measurement(cpu_s=0.3)))
    assert [line.partition(" (")[0] for line in lines] == ["Warning: noisy", "Warning: disturbed", "Note: idle"]
    assert "): 10 rows: block1_conv1 on onnxruntime, fp32, 2 threads; and 9 more" in lines[0]
    assert lines[2].endswith("had no work): 1 row: block1_conv1 on onnxruntime, fp32, 2 threads")
    assert max(map(len, lines)) <= 200
    assert doubt_lines(report(measurement())) == []
    (line,) = doubt_lines(report(measurement(layer="+".join(names), others_s=0.3)))
    assert line.endswith("): 1 row")


def test_the_yardstick_is_measured_for_any_number_of_threads():
    found = measure_yardstick(1)
    assert found["threads"] == 1
    assert 0 < found["seconds"] < 10


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"Allowed: a name that ends in .json, .csv, .md, .html"):
        require_form(tmp_path / "r.txt")
