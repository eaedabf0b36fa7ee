"""The report page, read without a browser."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from fmedge.data.bench_report import Missing
from fmedge.data.measurement import Process
from fmedge.data.telemetry import Telemetry
from fmedge.render.report import SAMPLES, render_report
from fmedge.render.report_rows import front, lay_out
from fmedge.render.report_tables import COLUMNS
from fmedge.render.report_words import doubts, environment, error_share, milliseconds, moment
from support.measurements import measurement, report
from support.page_samples import Elements, inflate
from support.report_samples import (
    DESK,
    HOSTILE_NAMES,
    PI,
    energetic_report,
    parity,
    poisoned_report,
    rich_report,
    several,
    watched,
)


def data_in(page):
    return json.loads(Elements(page).by_id("data"))


@pytest.fixture(scope="module")
def page():
    return render_report({"desk": rich_report()})


def test_same_reports_give_the_same_bytes(page):
    assert render_report({"desk": rich_report()}) == page


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_from_outside_stay_text(name):
    plain = Elements(render_report({"plain": poisoned_report("plain"), "other": poisoned_report("plain")}))
    page = render_report({name: poisoned_report(name), f"{name}2": poisoned_report(name)})
    elements = Elements(page)
    assert [tag for tag, _, _ in elements.found] == [tag for tag, _, _ in plain.found]
    assert page.count(b"<script") == page.count(b"</script>") == len(plain.texts("script"))
    assert page.count(b"-->") == 1
    block = page[page.index(b'id="data">') + len(b'id="data">') :].split(b"</script>")[0]
    assert not set(b"<>&\n") & set(block)
    assert data_in(page)["machines"] == [name, f"{name}2"]
    shown = name.encode("utf-8", "replace").decode()
    assert any(shown in text for text in elements.texts("td"))
    assert any(shown in text for text in elements.texts("h1"))


def test_the_policy_allows_the_pages_own_scripts_alone(page):
    elements = Elements(page)
    running = [text for tag, attributes, text in elements.found if tag == "script" and "type" not in attributes]
    scripts = [running[0].encode(), inflate(elements.by_id("plotly"))]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
    assert len(running) == 1
    assert elements.policy["script-src"] == hashes
    assert elements.policy["default-src"] == ["'none'"]
    assert not [
        value for _, attributes, _ in elements.found for value in attributes.values() if "http" in (value or "")
    ]


def test_every_row_stands_in_the_table(page):
    elements = Elements(page)
    rows = [attributes.get("class") for tag, attributes, _ in elements.found if tag == "tr"]
    assert rows.count(None) == 2 + 16  # the headers, and what is not shaky
    assert rows.count("shaky") == 2
    assert rows.count("missing skipped") == rows.count("missing failed") == 1
    assert ": the process ended by signal 9 (memory?)" in page.decode()
    sorts = [float(attributes["data-value"]) for _, attributes, _ in elements.found if "data-value" in attributes]
    absent = 18 + 2 + 18 * 6  # p99 for want of runs, the accuracy of bf16, and energy and heat, which were not recorded
    assert len(sorts) == 18 * len(COLUMNS) - absent


def test_without_a_script_every_column_is_shown(page):
    text = page.decode()
    assert '<table id="figures">' in text  # the script says which columns are shown
    assert '<label hidden="hidden">Columns' in text


def test_headline_names_the_fastest_and_its_price(page):
    text = "".join(page.decode().split("<h3>block1_conv1</h3>")[1].split("</ul>")[0].split())
    assert "Fastestexactchoice:<strong>openvino,fp32</strong>,1.51ms(levelwithncnn,fp32)." in text
    assert (
        "Fastestoverall:<strong>openvino,int8</strong>,0.566ms,2.67timesasfast.Itislessaccurate:33.7dBinsteadof128.9dB,sotheerroris2.1%ofthevalues"
        in text
    )


def test_what_other_arithmetic_costs_is_not_made_up():
    rows = [row for row in lay_out({"desk": rich_report()}).rows if row.measured.configuration.math == "bf16"]
    assert [row.snr_db for row in rows] == [None, None]
    made = measurement(parity=parity("fp32", 130.0))
    quick = replace(made, processes=(Process(((0.001,) * 5,)),), configuration=replace(made.configuration, math="bf16"))
    page = render_report({"desk": report(made, quick)}).decode()
    assert "Its accuracy with bf16 arithmetic was not measured." in page


def test_nothing_less_exact_or_nothing_exact():
    made = measurement()
    assert "No less exact choice was measured." in render_report({"desk": report(made)}).decode()
    rough = replace(made, configuration=replace(made.configuration, precision="int8"))
    page = render_report({"desk": report(rough)}).decode()
    assert "No exact choice (float32 throughout) was measured." in page
    slow = replace(rough, processes=(Process(((0.1,) * 5,)),))
    assert "No less exact choice was faster." in render_report({"desk": report(made, slow)}).decode()


def test_the_front_holds_what_nothing_beats():
    rows = lay_out({"desk": rich_report()}).of(0, 0)
    found = [row.choice for row in front(rows)]
    assert found == ["openvino, int8", "onnxruntime, int8", "ncnn, fp16", "openvino, fp32", "onnxruntime, fp32"]
    on_front = [row["choice"] for row in data_in(render_report({"desk": rich_report()}))["rows"] if row["front"]]
    assert on_front == found * 2


def test_a_report_without_figures():
    gap = Missing(measurement().configuration, "no engine", 5)
    page = render_report({"desk": report(missing=(gap,), interrupted=True)}).decode()
    assert "nothing could be measured; the table says why." in page
    assert "Interrupted" in page
    assert "Nothing was measured." in render_report({"desk": report()}).decode()


def test_machines_are_paired_by_what_they_did():
    """One thread per core pairs with one per core, whatever their number; one thread pairs with one thread."""
    reports = {"pi": rich_report(PI, 8.0), "desk": rich_report(DESK)}
    table = render_report(reports).decode().split('id="ratios"')[1].split("</table>")[0]
    assert table.count("(8.00 \u00d7)") == 18
    mixed = {"pi": rich_report(PI, 8.0, threads=1), "desk": rich_report(DESK)}
    assert "on several machines with the same choice" in render_report(mixed).decode()
    assert {row.choice.rpartition(", ")[2] for row in lay_out(mixed).rows} == {"1 thread", "all cores"}


def test_three_machines_stand_side_by_side():
    page = render_report(several())
    data = data_in(page)
    assert data["machines"] == ["pi", "jetson", "desk"]
    assert {row["machine"] for row in data["rows"]} == {0, 1, 2}
    assert "<b>desk</b> is 4.00 times as fast as jetson, 8.00 times as fast as pi." in page.decode()
    assert [name for name in Elements(page).texts("h3") if name in several()] == ["pi", "jetson", "desk"]


def test_what_differs_is_said_and_what_does_not_stands_once():
    small = measurement()
    small = replace(small, configuration=replace(small.configuration, size=(64, 64)))
    layout = lay_out({"desk": report(measurement(), small, measurement(batch=16, scenario="offline"))})
    assert layout.tasks == (
        "block1_conv1, 224 \u00d7 224, one image at a time",
        "block1_conv1, 64 \u00d7 64, one image at a time",
        "block1_conv1, 224 \u00d7 224, in batches of 16",
    )
    assert layout.common == "after the activation, untrained weights"


def test_of_many_runs_the_extremes_are_drawn():
    many = measurement(turns=(tuple(0.01 + number * 1e-6 for number in range(5000)),))
    (row,) = data_in(render_report({"desk": report(many)}))["rows"]
    assert len(row["samples"]) == SAMPLES
    assert (row["samples"][0], row["samples"][-1]) == (10.0, 14.999)


def test_an_equal_result_is_drawn_at_the_top():
    (row,) = data_in(render_report({"desk": report(measurement(parity=parity("fp32", float("inf"))))}))["rows"]
    assert row["snr"] == 200.0
    assert "SNR: no difference, error less than 0.01\u00a0% of the values" in row["hover"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.2345, "1,234"), (0.0123, "12.3"), (0.00123, "1.23"), (0.000123, "0.123")]
)
def test_milliseconds(seconds, text):
    assert milliseconds(seconds) == text


def test_doubts_are_told_beside_the_figure():
    made = measurement(turns=((0.01, 0.02) * 20,), others_s=0.3, wall_s=0.31, steady=False)
    assert doubts(made) == ["noisy", "disturbed", "unsettled"]
    page = render_report({"desk": report(made)}).decode()
    assert "15.0\u00a0ms (noisy, disturbed, unsettled)" in page
    assert "1 row is noisy, disturbed, unsettled, crowded or throttled (marked ! in the table)." in page


def test_many_layers_are_folded():
    layers = [measurement(layer=f"block{number}_conv1") for number in range(1, 7)]
    page = render_report({"desk": report(*layers)}).decode()
    shown, folded = page.split("<details>")
    assert "<h3>block4_conv1</h3>" in shown
    assert "<summary>2 more layers</summary>" in folded
    assert "<details>" not in render_report({"desk": report(*layers[:4])}).decode()


def test_words():
    assert error_share(40.0) == "1\u00a0%"
    assert error_share(130.0) == "less than 0.01\u00a0%"
    assert moment("2026-11-22T18:00:00+00:00") == "2026-11-22 18:00 UTC"
    assert moment("<b>yesterday</b>") == "<b>yesterday</b>"
    words = list(environment("pi", rich_report(PI)).itertext())
    assert words[:3] == ["pi", "Processor", "Raspberry Pi 5 Model B, aarch64"]
    assert "4 (numbers 0-1)" in words
    assert "2100 MHz before, 2400 MHz after" in words


# ---- Energy and heat -----------------------------------------------------------------------------------


def cells(page, head):
    """The texts of a column of the table of all figures."""
    elements = Elements(page)
    heads = [text for tag, _, text in elements.found if tag == "th" and text]
    table = page.decode().split('id="figures"')[1].split("</table>")[0]
    place = [part.split("</button>")[0].rpartition(">")[2] for part in table.split("<th")[2:]].index(head)
    assert heads
    rows = table.split("<tbody>")[1].split("<tr")[1:]
    return [re.sub(r"<[^>]*>", "", re.split(r"<t[hd]", row)[1 + place].partition(">")[2]).strip() for row in rows]


def test_energy_is_a_main_figure_where_it_was_measured():
    page = render_report({"pi": energetic_report()})
    joules = cells(page, "J/image")
    assert joules.count("failed") == 1
    assert cells(page, "± J").count("failed") == 1
    assert all(float(text) > 0 for text in joules if text != "failed")
    assert sorted(set(cells(page, "throttled"))) == ["0", "2"]
    assert "70" in cells(page, "max °C")
    text = page.decode()
    assert "No energy: ina3221 VDD_IN: too few samples within the turns." in text
    assert 'data-in="main energy"' in text
    assert "Least energy: <strong>openvino, int8</strong>" in text
    assert "throttled; the machine slowed its processor down during 2 of 12 turns" in text


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"telemetry": None}, "not recorded"),
        ({"telemetry": Telemetry(no_power="not asked for")}, "not asked for"),
        ({"telemetry": Telemetry(no_power="this machine has no power sensor")}, "no sensor"),
        ({"telemetry": watched(no_power="rail VDD_IN cannot be read")}, "failed"),
    ],
)
def test_what_was_not_measured_is_said_in_words(fields, word):
    seen = fields["telemetry"]
    made = measurement(no_energy=seen.no_power if seen else "")
    page = render_report({"desk": report(made, **fields)})
    assert cells(page, "J/image") == cells(page, "idle W") == [word]
    no_heat = "not recorded" if seen is None else "no sensor"
    assert cells(page, "max °C") == [no_heat]
    told = {"not recorded": "not recorded", "failed": "0"}.get(word, "not told")
    assert cells(page, "throttled") == [told]


def test_the_environment_tells_of_sensors():
    card = render_report({"pi": energetic_report()}).decode().split('id="where"')[1]
    for words in (
        "ina3221 VDD_IN, 20 times a second (the whole module); idle before and after: 4.10 W and 4.30 W",
        "45 to 83 °C (cpu-thermal)",
        "clock lowered to cool",
        "4 big cores (4-7, 2256 MHz)",
    ):
        assert words in card
    card = render_report({"desk": report(measurement(), telemetry=Telemetry(no_power="no sensor"))}).decode()
    assert "the machine gives no sign of it" in card


def test_heat_is_drawn_for_each_machine():
    drawn = data_in(render_report({"pi": energetic_report(), "desk": rich_report()}))
    assert [len(heat["times"]) for heat in drawn["heat"]] == [61, 0]
    assert drawn["heat"][0]["throttled"] == [50.0, 51.0]
    assert [row["energy"] is None for row in drawn["rows"]].count(False) == 17
