import base64
import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from page_samples import UNTRAINED, Elements, decode, inflate, make_maps, random_maps
from PIL import Image

from fmedge.card import WeightsFacts
from fmedge.errors import BackendUnavailable, UsageError
from fmedge.render import plotly_js, render_page
from fmedge.render.encoding import EncodedMaps

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "\"'><img src=x onerror=alert(1)>",
    "{{script}} {{data}}",
    "&lt;b&gt; \u2028\u2029\x00\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "<b>bold</b> <a href='javascript:alert(1)'>x</a>",
    "--><script>alert(1)</script>",
]
"""Names that want to be more than text."""


def poisoned(name):
    """Maps of which every name from outside is this one."""
    return make_maps(
        random_maps(4, 3, 3),
        layer=name,
        weights=WeightsFacts(name, name),
        image_name=name,
        resize=name,
        backend=name,
        active_provider=name,
    )


@pytest.fixture(scope="module")
def plain():
    return Elements(render_page(make_maps(random_maps(4, 3, 3))))


def encoded_in(elements):
    header = elements.header
    channels = header["shape"][0]
    chunks = range(-(-channels // header["chunkChannels"]))

    def floats(name):
        return np.frombuffer(base64.b64decode(header[name]), "<f4")

    return EncodedMaps(
        shape=tuple(header["shape"]),
        offset=floats("offset"),
        step=floats("step"),
        chunk_channels=header["chunkChannels"],
        high=tuple(elements.by_id(f"high-{number}").encode() for number in chunks),
        low=tuple(elements.by_id(f"low-{number}").encode() for number in chunks),
    )


def test_same_maps_give_the_same_bytes():
    maps = make_maps(random_maps(64, 60, 61))
    assert render_page(maps) == render_page(maps)


@pytest.mark.parametrize("channel", [None, 17])
def test_the_page_holds_the_values(channel):
    values = random_maps(64, 100, 101)
    encoded = encoded_in(Elements(render_page(make_maps(values), channel=channel)))
    expected = values if channel is None else values[channel : channel + 1]
    error = np.abs(decode(encoded) - expected)
    assert np.all(error <= encoded.step[:, np.newaxis, np.newaxis] * 0.501)


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
    assert b"plotly.js v" in comment
    assert b"MIT license" in comment


def test_a_licence_cannot_end_its_comment(monkeypatch):
    packed = replace(plotly_js.prepare(), licence="--><script>alert(1)</script>--!>")
    monkeypatch.setattr(plotly_js, "prepare", lambda: packed)
    page = render_page(make_maps(random_maps(1, 3, 3)))
    assert page.count(b"-->") == 1
    assert b"--!>" not in page


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("channel", [None, 2])
def test_names_from_outside_stay_text(plain, name, channel):
    page = render_page(poisoned(name), channel=channel)
    elements = Elements(page)
    assert [tag for tag, _, _ in elements.found] == [tag for tag, _, _ in plain.found]
    assert page.count(b"<script") == page.count(b"</script>") == len(plain.texts("script"))
    assert page.count(b"-->") == 1
    assert elements.header["captions"]["image"] == name
    assert name.replace("\x00", "\ufffd") in elements.texts("title")[0].replace("\x00", "\ufffd")


def test_the_header_is_free_of_what_html_could_read():
    page = render_page(poisoned("".join(HOSTILE)))
    header = page[page.index(b'id="header">') + len(b'id="header">') :].split(b"</script>")[0]
    assert not set(b"<>&\n") & set(header)
    assert header.isascii()
    json.loads(header)


@pytest.mark.parametrize("channel", [-1, 4, 1000])
def test_a_channel_that_is_not_there(channel):
    with pytest.raises(UsageError, match="0 to 3"):
        render_page(make_maps(random_maps(4, 3, 3)), channel=channel)


def test_a_channel_that_cannot_be_drawn_is_named_by_its_own_number():
    values = random_maps(8, 3, 3)
    values[5, 1, 1] = np.nan
    for channel in (None, 5):
        with pytest.raises(UsageError, match="Channel 5 "):
            render_page(make_maps(values), channel=channel)
    render_page(make_maps(values), channel=4)


def test_title_note_and_facts():
    captions = Elements(render_page(make_maps(random_maps(4, 3, 5), activation="none", weights=UNTRAINED))).header[
        "captions"
    ]
    assert captions["title"] == "block1_conv1, before ReLU"
    assert captions["subtitle"] == "photo.png, untrained weights"
    assert captions["note"] == "untrained weights: random, not learned"
    facts = dict(captions["facts"])
    assert facts["Shape"].startswith("4 \u00d7 3 \u00d7 5 ")
    assert facts["Stored as"] == "12 bits of each channel's range"
    assert facts["Computed by"] == "onnxruntime, CPUExecutionProvider, 2 threads, fp32"
    assert facts["Image"] == "480 \u00d7 640, resized to 24 \u00d7 32 (nearest)"


def test_facts_of_one_channel():
    values = np.zeros((3, 2, 2))
    values[1] = [[0, 2], [-4, 6]]
    captions = Elements(render_page(make_maps(values), channel=1)).header["captions"]
    facts = dict(captions["facts"])
    assert captions["title"] == "block1_conv1 - channel 1, after ReLU"
    assert captions["note"] == ""
    assert facts["Values"] == "\u22124 to 6"
    assert facts["Mean"] == f"1, standard deviation {values[1].std():.6g}"
    assert facts["Zeros"] == "25.0%"


def test_size_at_the_largest_layer_for_the_worst_of_photos():
    generator = np.random.default_rng(0)
    noise = generator.uniform(-300, 300, (64, 224, 224))
    pixels = generator.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    page = render_page(make_maps(noise, pixels=pixels))
    assert len(page) < 9_000_000


def test_plotly_is_packed_once():
    assert plotly_js.prepare() is plotly_js.prepare()


def test_missing_plotly_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(plotly_js, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="pip install plotly"):
        plotly_js._pack.__wrapped__()
