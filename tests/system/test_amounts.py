"""Bounds on how much is read of documents and metadata, whatever size the file declares."""

import json

import pytest

from fmedge.data.bench_report import MAX_MEASUREMENTS, read_report
from fmedge.errors import LimitExceeded, UsageError
from fmedge.model.artifact import MAX_CARD_BYTES
from fmedge.model.card import METADATA_KEY
from fmedge.runtime.gate import flatbuffer
from fmedge.runtime.gate.bounds import MAX_ENTRIES
from fmedge.runtime.gate.onnx_reader import inspect_onnx
from fmedge.runtime.gate.tflite_reader import inspect_tflite
from fmedge.system import serde
from support.measurements import measurement, report
from support.strangers import field, shared_vectors

EMPTY_GRAPH = b"\x08\x07" + field(8, b"") + field(7, b"")


def entry(key, value):
    return field(14, field(1, key) + field(2, value))


@pytest.mark.parametrize("more", [0, 1])
def test_facts_in_a_model_are_no_longer_than_a_card(more):
    content = EMPTY_GRAPH + entry(METADATA_KEY.encode(), b"x" * (MAX_CARD_BYTES + more))
    if more:
        with pytest.raises(LimitExceeded, match="1,048,577 bytes of facts"):
            inspect_onnx(content)
    else:
        assert inspect_onnx(content).facts_json == "x" * MAX_CARD_BYTES


@pytest.mark.parametrize("more", [0, 1])
def test_entries_of_metadata_are_few(more):
    content = EMPTY_GRAPH + entry(b"k", b"v") * (MAX_ENTRIES + more)
    if more:
        with pytest.raises(LimitExceeded, match="1,025 entries of metadata"):
            inspect_onnx(content)
    else:
        assert inspect_onnx(content).facts_json is None


class Chooser:
    """Stands in for a generator: draws the numbers that the file makers ask for."""

    def __init__(self, *numbers):
        self._numbers = list(numbers)

    def integers(self, *_bounds):
        return self._numbers.pop(0) if self._numbers else 0


def test_lists_that_tables_share_are_counted_each_time():
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
    small, large = (shared_vectors(Chooser(1024, operators, 2, 8, 1)) for operators in (1000, 10_000))
    assert len(large) - len(small) == 4 * 9000
    with pytest.raises(LimitExceeded, match=r"more than 1,048,576 numbers"):
        inspect_tflite(large)
    root = flatbuffer.root(large, b"TFL3")
    operators = root.tables(2, 1)[0].tables(3, 10_000)
    for each in operators[:1000]:
        each.numbers(1, "i", 1024)
    with pytest.raises(LimitExceeded, match=r"more than 1,048,576 numbers"):
        for each in operators:
            each.numbers(1, "i", 1024)


@pytest.mark.parametrize(("what", "count"), [("lists", serde._MAX_LISTS), ("values", serde._MAX_VALUES)])
def test_documents_are_counted_before_they_are_read(what, count):
    unit, last = ("[],", "[]") if what == "lists" else ("0,", "0")
    within = f"[{unit * (count - 2)}{last}]"
    assert len(serde.parse(within)) == count - 1
    with pytest.raises(ValueError, match=f"{what}, at most {count:,} allowed"):
        serde.parse(f"[{unit * (count + 1)}{last}]")


def test_a_report_of_more_measurements_than_there_are(tmp_path):
    path = tmp_path / "report.json"
    data = report(measurement()).to_dict()
    data["measurements"] *= MAX_MEASUREMENTS
    path.write_text(json.dumps(data))
    assert len(read_report(path).measurements) == MAX_MEASUREMENTS
    data["measurements"] *= 2
    path.write_text(json.dumps(data))
    with pytest.raises(LimitExceeded, match=r"8,192 measurements\. Allowed: 4,096"):
        read_report(path)


@pytest.mark.parametrize("wrong", [0, 0.0, 1e10, 10**10, 1e-31, -1.0])
def test_many_numbers_are_bounded_as_one_is(tmp_path, wrong):
    path = tmp_path / "report.json"
    data = report(measurement(turns=((0.01,) * 5000,))).to_dict()
    text = json.dumps(data)
    path.write_text(text)
    assert read_report(path).measurements[0].seconds == (0.01,) * 5000
    path.write_text(text.replace("0.01, 0.01]", f"0.01, {wrong}]"))
    with pytest.raises(UsageError, match="'turns' is"):
        read_report(path)
