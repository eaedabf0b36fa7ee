"""Untrusted documents: cards, reports and tuned choices with one field at a time changed to an odd value."""

import copy
import json
import random
from dataclasses import replace
from functools import partial

import pytest

from fmedge.bench.compare import compare_reports
from fmedge.bench.report_formats import FORMS
from fmedge.cli import main
from fmedge.cli.compare import _data, _row
from fmedge.data.bench_report import Missing, read_report
from fmedge.data.measurement import Process
from fmedge.errors import FmedgeError, LimitExceeded
from fmedge.export import judging
from fmedge.model.artifact import card_path, write_artifact
from fmedge.model.card import ModelCard
from fmedge.model.parity import GATES, Parity
from fmedge.system import memory
from fmedge.system.serde import build, parse
from fmedge.workflow import extraction
from fmedge.workflow.tuned_choice import Candidate, Dropped, Tuned, read_tuned
from support.measurements import MACHINE, measurement, report

ODD = (
    *(10**30, -(10**30), 1 << 62, -1, 0, 0.5, 1e308, 5e-324, -0.0, True, False, None),
    *("inf", "nan", "", "\ud800", "\x1b[31mred", "\u202egnp.exe", "x" * 200_000, [], [1], {}, {"a": 1}),
)
"""Values that replace each of a document's own."""

PARITY = Parity(1e-7, 131.0, 1.0, GATES["fp32"])


def real_report():
    """Return a report in which every field has a value."""
    turns = ((0.01, 0.0105, 0.01),) * 10
    stages = {"decode": (0.01, 0.011), "run": (0.02, 0.021)}
    processes = tuple(Process(turns, 0.001) for _ in range(3))
    first = measurement(processes=processes, parity=PARITY, stages=stages, others_s=-0.01)
    second = measurement(layer="block2_conv2", backend="ncnn")
    return report(first, second, missing=(Missing(second.configuration, "it is missing", 5),), processes=3)


def real_choice():
    """Return a tuned choice in which every field has a value."""
    one = Candidate(
        *("model.onnx", "ab" * 32, "onnxruntime", "1.32.0", "cpu", "fp32", 1, "fp32", PARITY),
        *(0.001, 1000.0, 0.02, 0.002, 1 << 27, 11_000),
    )
    return Tuned(
        *("0.1.0", "2026-11-22T12:00:00+00:00", MACHINE, "latency", 100.0, "noise", 1, (one, one)),
        dropped=(Dropped("ncnn, bf16", "too far off", 4),),
    )


def places(data, here=()):
    """Yield the path of every value of a document, including lists and objects."""
    yield here
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*here, key))


def changed(data, place, value):
    """Return a document with another value at a place."""
    if not place:
        return value
    found = copy.deepcopy(data)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return found


def use_card(text):
    card = ModelCard.from_json(text)
    assert ModelCard.from_json(card.to_json()) == card
    said = [card.facts_json(), card.preprocessing.describe(), card.weights.describe(), card.submodel.label]
    said += [spec.describe() for spec in (*card.inputs, *card.outputs)]
    said += [card.parity.describe(), card.parity.gate.describe()] if card.parity else []
    assert card.channels > 0
    "".join(said).encode()


def use_report(path, text):
    path.write_text(text)
    found = read_report(path)
    for form in FORMS.values():
        form(found).encode()
    for each in found.measurements:
        each.warnings()
    compared = compare_reports(found, found, ["p50", "load", "peak_memory", "file_size"], across_machines=True)
    json.dumps(_data(compared), allow_nan=False)
    list(map(_row, compared.changes))


def use_choice(path, text):
    path.write_text(text)
    found = read_tuned(path)
    found.to_json().encode()
    for each in found.front:
        each.describe()
        for objective in ("latency", "throughput", "memory", "size", "first"):
            each.value(objective)


@pytest.fixture
def documents(block1, tmp_path):
    """Return every kind of document as JSON holds it, with what reads and uses it."""
    return {
        "card": (json.loads(block1.card.to_json()), use_card),
        "report": (real_report().to_dict(), partial(use_report, tmp_path / "report.json")),
        "choice": (json.loads(real_choice().to_json()), partial(use_choice, tmp_path / "choice.json")),
    }


@pytest.mark.parametrize("kind", ["card", "report", "choice"])
def test_an_odd_value_is_refused_in_one_line_or_does_no_harm(documents, kind, cases):
    data, use = documents[kind]
    data = json.loads(json.dumps(data))
    use(json.dumps(data))
    drawn = random.Random(15)
    spots = [place for place in places(data) if "turns" not in place or place[-1] == 0]
    count = refused = 0
    for place in spots:
        for value in drawn.sample(ODD, len(ODD) if kind == "card" else 5):
            count += 1
            try:
                use(json.dumps(changed(data, place, value)))
            except FmedgeError as error:
                refused += 1
                assert str(error).isprintable()
            except Exception as error:
                error.add_note(f"{kind}, {place}, {value!r:.40}")
                raise
    assert refused > count // 2
    cases("odd values in documents", count)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"a":' * 100_000, '{"a": 1, "a": 2}', "NaN", "[Infinity]", "1e999"),
        *("1" * 30, "1" * 5000, "\ufeff{}", '"\t"', ""),
    ],
)
def test_what_is_no_plain_json_is_refused(text):
    with pytest.raises((ValueError, RecursionError)):
        parse(text)


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        *((float, "inf", "cosine"), (float, True, "cosine"), (float, 1.5, "cosine"), (int, True, "cores")),
        *((int, 0, "cores"), (int, 1.0, "cores"), (float, 0, "p50_s"), (float, -1, "load_s"), (int, 1 << 60, "x")),
        *((str, "\ud800", "x"), (str, "\x9b31m", "x"), (str, "\u2066", "x"), (str, "x" * 20_000, "x"), (str, 1, "x")),
        *((tuple[float, float], [1], "x"), (dict[str, str], {"a": 1}, "x"), (dict[str, str], {"\x1b": "a"}, "x")),
    ],
)
def test_values_out_of_bounds_are_refused(kind, value, name):
    with pytest.raises((ValueError, TypeError)):
        build(kind, value, name)


def test_values_within_bounds_are_kept():
    assert build(float, 3, "load_s") == 3.0
    assert build(str, "Größe 大きさ 🙂\n", "x") == "Größe 大きさ 🙂\n"
    assert build(dict[str, int | None], {"a": 1, "b": None}, "x") == {"a": 1, "b": None}


@pytest.fixture
def odd_model(block1, tmp_path):
    """Write a model whose card has another value at a place."""

    def write(place, value):
        path = write_artifact(tmp_path / "odd.onnx", block1.model, block1.card).path
        card_path(path).write_text(json.dumps(changed(json.loads(block1.card.to_json()), place, value)))
        return path

    return write


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("preprocessing", "mean", 0), 10**30),
        (("preprocessing", "mean", 1), "nan"),
        (("preprocessing", "mean", 2), True),
        (("parity", "cosine"), "inf"),
        (("parity", "snr_db"), 10**400),
        (("tools", "onnx"), "\ud800"),
        (("recipe",), {"text": "\x1b]0;title\x07"}),
        (("options", "size"), [20_000, 20_000]),
        (("options", "batch"), 1_000_000),
    ],
)
def test_commands_say_one_line_of_a_bad_card(odd_model, picture, capfd, place, value):
    path = str(odd_model(place, value))
    for words in (["info", path], ["info", "--json", path], ["verify", path], ["run", str(picture), "--model", path]):
        assert main(words) == 4
        said = capfd.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert len(said.err) <= 201
        assert said.err.strip().isprintable()


@pytest.mark.parametrize("text", ["\x1b[31m", "\u202e", "\x9b", "\ud800", "\x00"])
def test_commands_say_one_line_of_a_report_that_steers_the_terminal(tmp_path, monkeypatch, capfd, text):
    monkeypatch.chdir(tmp_path)
    data = real_report().to_dict()
    for field in ("layer", "backend", "precision", "variant"):
        data["measurements"][0]["configuration"][field] = f"a{text}b"
    (tmp_path / "odd.json").write_text(json.dumps(data))
    for words in (["compare", "odd.json", "odd.json"], ["report", "odd.json"]):
        assert main(words) == 2
        said = capfd.readouterr()
        assert said.out == ""
        assert said.err.strip().isprintable()


def test_a_bad_card_in_the_folder_of_models_costs_no_result(block1, picture, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    path = write_artifact(models / block1.path.name, block1.model, block1.card).path
    card_path(path).write_text(card_path(path).read_text().replace("103.939", "1" * 30))
    words = ["run", str(picture), "--models", str(models), "--weights", "untrained", "--output", "page.html"]
    assert main(words) == 0  # it counts as absent and is exported again
    assert capfd.readouterr().out == "page.html\n"
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("size", "batch", "channels", "fits"),
    [
        *(((224, 224), 167, 64, True), ((9_459, 9_459), None, 1, True), ((9_460, 9_460), None, 1, False)),
        *(((20_000, 20_000), None, 1, False), ((1 << 20, 1 << 20), None, 1, False), ((224, 224), 1_000_000, 1, False)),
        *(((8, 8), 1 << 20, 64, False), ((3_000, 3_000), None, 64, False), ((1, 1 << 20), None, 64, True)),
    ],
)
def test_sizes_of_a_card_are_bounded(block1, size, batch, channels, fits):
    data = json.loads(block1.card.to_json())
    data["submodel"] = {"taps": ["t"], "activation": "relu", "source": "keras"}
    data["options"].update(size=size, batch=batch)
    data["inputs"][0]["shape"] = [batch, *size, 3]
    data["outputs"] = [{"name": "t", "dtype": "float32", "shape": [batch, channels, *size], "layout": "NCHW"}]
    if fits:
        assert ModelCard.from_json(json.dumps(data)).options.size == size
        return
    with pytest.raises(FmedgeError, match="Allowed: "):
        ModelCard.from_json(json.dumps(data))


@pytest.mark.parametrize("command", ["run", "verify"])
def test_memory_is_asked_before_it_is_taken(block1, picture, capfd, monkeypatch, command):
    monkeypatch.setattr(memory, "available_bytes", lambda: 30_000_000)
    for module in (extraction, judging):
        monkeypatch.setattr(module, "np", None)  # creating an array of that size would fail here
    words = {"run": ["run", str(picture), "--model"], "verify": ["verify"]}[command]
    assert main([*words, str(block1.path)]) == 7
    said = capfd.readouterr().err
    assert "1 x 224 x 224 pixels needs about 38.5 MB" in said
    assert said.count("\n") == 1


def test_an_open_batch_that_a_card_promises_is_asked_for_too(block1, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 36)
    card = replace(block1.card, options=replace(block1.card.options, size=None, batch=1_000_000))
    with pytest.raises(LimitExceeded, match="1,000,000 x 224 x 224"):
        card.require_room()
    own = replace(card, submodel=replace(card.submodel, source="keras"))
    with pytest.raises(LimitExceeded, match="1,000,000 x 999 x 8"):
        own.require_room((999, 8))
