import base64
import hashlib
import io
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmedge.data.page_options import PageOptions
from fmedge.errors import BackendUnavailable, LimitExceeded, UsageError
from fmedge.render import layer_data, plotly_js
from fmedge.render.page import render_page
from fmedge.render.sheet import render_sheet
from support.messages import says
from support.page_samples import (
    HOSTILE,
    UNTRAINED,
    Elements,
    decode,
    encoded_in,
    inflate,
    make_maps,
    poisoned_maps,
    random_maps,
)


@pytest.fixture(scope="module")
def plain():
    return Elements(render_page(make_maps(random_maps(4, 3, 3))))


def test_same_maps_give_the_same_bytes():
    maps = make_maps(random_maps(64, 60, 61))
    assert render_page(maps) == render_page(maps)


@pytest.mark.parametrize("channel", [None, 17])
@pytest.mark.parametrize("kind", ["12bit", "float16", "float32"])
def test_the_page_holds_the_values(channel, kind):
    values = random_maps(64, 100, 101)
    encoded = encoded_in(Elements(render_page(make_maps(values), channel=channel, options=PageOptions(values=kind))))
    expected = values if channel is None else values[channel : channel + 1]
    error = np.abs(decode(encoded) - expected)
    if kind == "12bit":
        assert np.all(error <= encoded.step[:, np.newaxis, np.newaxis] * 0.501)
    else:
        assert np.all(error <= (0 if kind == "float32" else np.abs(expected) * 2.0**-11 + 1e-7))


def test_the_page_holds_the_photo():
    pixels = np.random.default_rng(0).integers(0, 256, (31, 45, 3), dtype=np.uint8)
    elements = Elements(render_page(make_maps(random_maps(1, 3, 3), pixels=pixels)))
    (source,) = [attributes["src"] for tag, attributes, _ in elements.found if tag == "img"]
    decoded = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
    np.testing.assert_array_equal(np.asarray(decoded), pixels)


def test_the_policy_allows_the_pages_own_scripts_alone(plain):
    running = [text for tag, attributes, text in plain.found if tag == "script" and "type" not in attributes]
    assert len(running) == 1
    scripts = [running[0].encode(), inflate(plain.by_id("plotly"))]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
    assert plain.policy["script-src"] == hashes
    assert plain.policy["default-src"] == ["'none'"]


def test_plotlys_licence_can_be_read():
    page = render_page(make_maps(random_maps(1, 3, 3)))
    comment = page[page.index(b"<!-- ") : page.index(b"-->")]
    assert b"plotly.js " in comment
    assert b"Copyright (c)" in comment
    assert b"Permission is hereby granted, free of charge" in comment


def test_a_licence_cannot_end_its_comment(monkeypatch):
    packed = replace(plotly_js.prepare(), licence="--><script>alert(1)</script>--!>")
    monkeypatch.setattr(plotly_js, "prepare", lambda: packed)
    page = render_page(make_maps(random_maps(1, 3, 3)))
    assert page.count(b"-->") == 1
    assert b"--!>" not in page


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("channel", [None, 2])
def test_names_from_outside_stay_text(plain, name, channel):
    page = render_page(poisoned_maps(name), channel=channel)
    elements = Elements(page)
    assert [tag for tag, _, _ in elements.found] == [tag for tag, _, _ in plain.found]
    assert page.count(b"<script") == page.count(b"</script>") == len(plain.texts("script"))
    assert page.count(b"-->") == 1
    assert elements.header["captions"]["image"] == name
    assert name.replace("\x00", "\ufffd") in elements.texts("title")[0].replace("\x00", "\ufffd")


def test_the_header_is_free_of_what_html_could_read():
    page = render_page(poisoned_maps("".join(HOSTILE)))
    header = page[page.index(b'id="header">') + len(b'id="header">') :].split(b"</script>")[0]
    assert not set(b"<>&\n") & set(header)
    assert header.isascii()
    json.loads(header)


@pytest.mark.parametrize("channel", [-1, 4, 1000])
def test_a_channel_that_is_not_there(channel):
    with pytest.raises(UsageError, match="0 to 3"):
        render_page(make_maps(random_maps(4, 3, 3)), channel=channel)


def test_title_note_and_facts():
    captions = Elements(render_page(make_maps(random_maps(4, 3, 5), activation="none", weights=UNTRAINED))).header[
        "captions"
    ]
    assert captions["title"] == "block1_conv1, before ReLU"
    assert captions["subtitle"] == "photo.png, untrained weights"
    assert captions["note"] == "untrained weights: random, not learned"
    facts = dict(captions["facts"])
    assert facts["Stored as"] == "12 bits of each channel's range"
    assert facts["Computed by"] == "onnxruntime, CPUExecutionProvider, 2 threads, fp32"
    assert facts["Image"] == "480 \u00d7 640, resized to 24 \u00d7 32 (nearest)"


def test_titles():
    raw = make_maps(random_maps(3, 2, 2), activation="none")

    def title(maps, **options):
        return Elements(render_page(maps, **options)).header["captions"]["title"]

    assert title(raw, channel=1) == "block1_conv1 - channel 1, before ReLU"
    assert title(raw, options=PageOptions(both=True)) == "block1_conv1, before and after ReLU"
    assert title([raw, replace(raw, layer="block2_conv1")]) == "2 layers, block1_conv1 to block2_conv1, before ReLU"


@pytest.mark.parametrize("render", [render_page, render_sheet])
@pytest.mark.parametrize(
    ("activation", "function", "said"),
    [
        ("relu", None, "'conv' are after ReLU; the values before it are lost"),
        ("relu", "relu", "'conv' are after ReLU; the values before it are lost"),
        ("relu", "sigmoid", "'conv' ends in sigmoid; a page can compute only ReLU"),
        ("none", "sigmoid", "'conv' ends in sigmoid; a page can compute only ReLU"),
        ("relu", "leaky_relu(negative_slope=0.2)", "ends in leaky_relu"),
    ],
)
def test_both_is_refused_where_it_cannot_be_computed(render, activation, function, said):
    maps = make_maps(random_maps(3, 2, 2), layer="conv", activation=activation, function=function)
    with pytest.raises(UsageError, match=said):
        render(maps, options=PageOptions(both=True))


@pytest.mark.parametrize(("activation", "view"), [("relu", "relu"), ("none", "raw")])
def test_both_sides_of_no_activation_are_one(activation, view):
    values = random_maps(3, 2, 2)
    maps = make_maps(values, layer="conv", activation=activation, function="linear")
    header = header_of(render_page(maps, options=PageOptions(both=True)))
    assert header["views"] == [view]
    assert header["captions"]["title"] == "conv, no activation"


def test_where_values_lie_on_the_photo():
    pixels = np.zeros((224, 224, 3), np.uint8)

    def geometry(layer, *shape):
        found = Elements(render_page(make_maps(np.zeros(shape), layer=layer, pixels=pixels))).header["layers"][0]
        return found["step"], found["field"]

    assert geometry("block1_conv1", 2, 224, 224) == ([1, 1], 3)
    assert geometry("block3_conv3", 2, 56, 56) == ([4, 4], 40)
    assert geometry("block5_pool", 2, 7, 7) == ([32, 32], 212)
    assert geometry("mine", 2, 10, 20) == ([22.4, 11.2], None)


def test_too_many_values(monkeypatch):
    monkeypatch.setattr(layer_data, "MAX_VALUES", 100)
    with pytest.raises(LimitExceeded, check=says("--channel")):
        render_page(make_maps(random_maps(3, 10, 10)))
    render_page(make_maps(random_maps(3, 10, 10)), channel=1)


@pytest.mark.parametrize("place", ["cdn", "file"])
def test_plotly_from_elsewhere(place):
    embedded = render_page(make_maps(random_maps(1, 3, 3)))
    page = render_page(make_maps(random_maps(1, 3, 3)), options=PageOptions(plotlyjs=place))
    assert len(page) < len(embedded) - 600_000
    (script,) = [attributes for tag, attributes, _ in Elements(page).found if tag == "script" and "src" in attributes]
    name, content = plotly_js.script_file()
    if place == "file":
        assert script["src"] == name
    else:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert script == {
            "src": f"https://cdn.plot.ly/{name}",
            "integrity": f"sha256-{digest}",
            "crossorigin": "anonymous",
        }
        assert script["src"] in Elements(page).policy["script-src"]


def test_size_at_the_largest_layer_for_the_worst_of_photos():
    generator = np.random.default_rng(0)
    noise = generator.uniform(-300, 300, (64, 224, 224))
    pixels = generator.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    page = render_page(make_maps(noise, pixels=pixels))
    assert len(page) < 9_000_000


def test_the_bundle_is_of_the_plotly_packages_version():
    """Figures that the package describes are drawn by the script that comes with fmedge."""
    script = Path(find_spec("plotly").origin).with_name("package_data") / "plotly.min.js"
    assert f"plotly.js v{plotly_js.prepare().version}\n".encode() in script.read_bytes()[:200]


def test_the_bundle_is_what_its_hash_says():
    name, script = plotly_js.script_file()
    packed = plotly_js.prepare()
    assert base64.b64encode(hashlib.sha256(script).digest()).decode() == packed.sha256
    assert f"plotly.js (cartesian - minified) v{packed.version}\n".encode() in script[:200]
    assert name == f"plotly-cartesian-{packed.version}.min.js"


def test_without_the_plotly_package_the_grid_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    maps = make_maps(random_maps(1, 3, 3))
    with pytest.raises(BackendUnavailable, check=says("pip install plotly")):
        render_page(maps, options=PageOptions(style="grid"))
    assert render_page(maps)


def header_of(page):
    return json.loads(page.partition(b'id="header">')[2].partition(b"</script>")[0])


OTHERS = ["sigmoid", "relu6", "leaky_relu(negative_slope=0.2)", "prelu", "softmax", "silu"]


@pytest.mark.parametrize("function", OTHERS)
def test_other_activations_have_their_own_words(function):
    values = random_maps(3, 6, 8)
    after, before = (make_maps(values, layer="conv", activation=each, function=function) for each in ("relu", "none"))
    for maps, words in ((after, f"after {function}"), (before, f"before {function}")):
        header = header_of(render_page(maps))
        assert header["captions"]["title"] == f"conv, {words}"
        (layer,) = header["layers"]
        assert layer["activation"] == function
        assert layer["words"] == {"relu": f"after {function}", "raw": f"before {function}"}
    with pytest.raises(UsageError, match="a page can compute only ReLU"):
        render_page(before, options=PageOptions(both=True))
    with pytest.raises(UsageError, match="a page can compute only ReLU"):
        render_sheet(before, options=PageOptions(both=True))


def test_layers_without_an_activation():
    values = random_maps(3, 6, 8)
    for activation in ("relu", "none"):
        bare = make_maps(values, layer="conv", activation=activation, function="linear")
        assert header_of(render_page(bare))["captions"]["title"] == "conv, no activation"
    header = header_of(render_page(bare, options=PageOptions(both=True)))
    assert header["views"] == ["raw"]
    relu = make_maps(values, layer="act", activation="none", function="relu")
    header = header_of(render_page([bare, relu], options=PageOptions(both=True)))
    assert header["captions"]["title"] == "2 layers, conv to act, no activation, before and after ReLU"
    assert header["views"] == ["relu", "raw"]
    first, second = (layer["statistics"] for layer in header["layers"])
    assert first["relu"] == first["raw"]
    assert second["relu"] != second["raw"]


def test_a_picture_of_values_below_zero_keeps_them():
    """LeakyReLU leaves values below zero: a picture that cut them off would be another one."""
    values = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 6, 8)
    leaky = make_maps(values, layer="conv", function="leaky_relu(negative_slope=0.2)")
    raw = make_maps(values, layer="conv", activation="none", function="linear")
    pictures = [np.asarray(Image.open(io.BytesIO(render_sheet(maps)))) for maps in (leaky, raw)]
    assert len(np.unique(pictures[0][64:])) > 30  # with the values below zero cut off there would be 26
    np.testing.assert_array_equal(pictures[0][64:], pictures[1][64:])


def test_pages_of_stock_layers_say_nothing_new():
    (layer,) = header_of(render_page(make_maps(random_maps(2, 4, 4))))["layers"]
    assert not {"activation", "words"} & set(layer)


def test_photos_that_do_not_fit_on_one_page():
    photos = [make_maps(random_maps(1, 4, 4), image_name=f"{number}.png") for number in range(5)]
    with pytest.raises(UsageError, check=says("at most 4")):
        render_page(photos)
    other = make_maps(random_maps(1, 4, 4), image_name="x.png", pixels=np.zeros((30, 32, 3), np.uint8))
    with pytest.raises(UsageError, check=says("one size")):
        render_page([photos[0], other])
    assert [each["image"] for each in header_of(render_page(photos[:4]))["pictures"]] == [f"{n}.png" for n in range(4)]
