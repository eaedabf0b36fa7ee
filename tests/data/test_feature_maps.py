"""Feature maps as an object of Python: an array, a line, a file, a table."""

import base64
import importlib
import io
import pickle
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fmedge.data import feature_maps
from fmedge.data.feature_maps import FeatureMaps
from fmedge.errors import BackendUnavailable, UsageError
from fmedge.workflow.pipeline import run_artifact


@pytest.fixture
def maps(block1, picture):
    return run_artifact(block1, picture)


@pytest.fixture
def saved(maps, tmp_path):
    maps.save(str(tmp_path / "maps.npz"))
    return tmp_path / "maps.npz"


def test_an_array_for_numpy(maps):
    assert np.asarray(maps) is maps.maps
    assert np.asarray(maps, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(maps, copy=True), maps.maps)
    with pytest.raises(ValueError, match="copy"):
        np.array(maps, np.float64, copy=False)
    assert np.mean(maps) == maps.maps.mean()
    assert maps.shape == maps.maps.shape == (1, 64, 224, 224)


def test_repr_is_one_line(maps, picture):
    assert repr(maps) == f"FeatureMaps('block1_conv1', (1, 64, 224, 224), float32, '{picture.name}')"


def test_equality_is_by_value(maps):
    same = replace(maps, maps=maps.maps.copy(), pixels=maps.pixels.copy())
    assert (maps == same) is True
    odd = maps.maps.copy()
    odd[0, 0, 0, 0] = np.nan
    assert (maps == replace(maps, maps=odd)) is False
    assert replace(maps, maps=odd) == replace(maps, maps=odd.copy())
    assert maps != replace(maps, layer="block1_conv2")
    assert maps != 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(maps)


def test_load_gives_what_was_saved(maps, saved):
    assert FeatureMaps.load(saved) == FeatureMaps.load(str(saved)) == maps


def test_an_archive_holds_no_pickle(saved):
    with np.load(saved, allow_pickle=False) as archive:
        assert set(archive) == {"maps", "layer", "activation", "card", "run", "pixels"}
        assert archive["maps"].shape == (64, 224, 224)


def changed(saved, **members):
    with np.load(saved) as archive:
        content = {**archive, **members}
    np.savez(saved, **{name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"run": None}, "'run' is missing"),
        ({"maps": np.zeros((3, 4), np.float32)}, "2 dimensions"),
        ({"maps": np.zeros((3, 4, 4), np.float64)}, "float64"),
        ({"pixels": np.zeros((3, 4, 4), np.uint8)}, "pixels are"),
        ({"layer": np.array("block5_conv1")}, "does not name its layer"),
        ({"card": np.array("{")}, "card cannot be read"),
        ({"run": np.array('{"threads": "two"}')}, "str instead of int"),
        ({"run": np.array('{"threads": 2}')}, "missing"),
        ({"layer": np.array([print], dtype=object)}, "allow_pickle"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_archives_are_refused(saved, members, words):
    changed(saved, **members)
    with pytest.raises(UsageError, match=words):
        FeatureMaps.load(saved)


def test_no_archive_at_all(saved, tmp_path, monkeypatch):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UsageError, match="as feature maps") as caught:
        FeatureMaps.load(tmp_path / "text.npz")
    assert "fmedge run --save-maps" in caught.value.hint
    saved.write_bytes(saved.read_bytes()[:-1000])
    for path in (saved, tmp_path / "none.npz", tmp_path):
        with pytest.raises(UsageError):
            FeatureMaps.load(path)
    with pytest.raises(UsageError, match="Allowed: a path"):
        FeatureMaps.load(3)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("maps.npy", bytes(1 << 20))
    monkeypatch.setattr(feature_maps, "MAX_ARCHIVE_BYTES", 1000)
    with pytest.raises(UsageError, match="1,048,576 bytes, at most 1,000 allowed"):
        FeatureMaps.load(tmp_path / "bomb.npz")


def test_xarray(maps, monkeypatch):
    made = SimpleNamespace(DataArray=lambda values, **facts: (values, facts))
    monkeypatch.setitem(sys.modules, "xarray", made)
    values, facts = maps.to_xarray()
    assert values is maps.maps
    assert (facts["dims"], facts["name"]) == (("image", "channel", "row", "column"), "block1_conv1")
    assert facts["attrs"]["backend"] == maps.provenance.backend


def test_xarray_itself(maps):
    pytest.importorskip("xarray", reason="xarray is not installed")
    assert maps.to_xarray().sel(channel=5, image=0).shape == (224, 224)


def test_without_xarray(maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(BackendUnavailable, match="xarray is not installed") as caught:
        maps.to_xarray()
    assert caught.value.hint == "Install it: pip install xarray."


def test_a_notebook_shows_a_table(maps):
    hostile = replace(maps, provenance=replace(maps.provenance, image_name="<script>.jpg"))
    text = hostile._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;.jpg" in text
    assert "1 x 64 x 224 x 224, float32" in text
    assert text.count("<img ") == 1
    assert len(text) < 200_000
    assert maps.provenance.card.describe_weights() in text
    values = maps.maps[0].astype(np.float64)
    assert f"{values.min():.6g} to {values.max():.6g}, mean {values.mean():.6g}, standard deviation " in text
    assert f"{100 * (values == 0).mean():.1f} %" in text
    assert "channels 0 to 15 of 64" in text
    flat = replace(maps, maps=np.full((1, 3, 1, 5), np.nan, np.float32))
    assert "<img " in flat._repr_html_()
    assert "none is finite" in flat._repr_html_()


def test_a_notebooks_picture_shows_small_maps_large_and_broken_values_as_such(maps):
    values = np.zeros((1, 2, 4, 8), np.float32)
    values[0, 1, :, 4:] = 5
    values[0, 1, 0, 0] = np.inf
    text = replace(maps, maps=values)._repr_html_()
    assert "channels without a value above zero</th>" in text
    assert "1 of 2" in text
    assert "1 of 64 values" in text
    with Image.open(io.BytesIO(base64.b64decode(text.split("base64,")[1].split('"')[0]))) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (34, 132)  # two tiles of 64 x 32 with an edge
    assert (pixels[1:33, 67 + 32 : 131] == 255).all()
    assert (pixels[1:33, 67 : 67 + 32] == 0).all()


def test_other_records_are_short(block1, maps):
    assert len(repr(block1)) < 300
    assert "bytes)" in repr(block1)
    assert block1 == replace(block1)
    assert pickle.loads(pickle.dumps(maps)) == maps


@pytest.mark.parametrize(
    "name",
    [
        "fmedge.data.images",
        "fmedge.export.built",
        "fmedge.export.int8.plan",
        "fmedge.export.int8.rounding",
        "fmedge.render.encoding",
        "fmedge.render.plotly_js",
        "fmedge.render.statistics",
    ],
)
def test_records_keep_arrays_and_bytes_out_of_their_text_and_comparisons(name):
    module = importlib.import_module(name)
    found = [
        (kind, spec)
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == name and hasattr(kind, "__dataclass_fields__")
        for spec in kind.__dataclass_fields__.values()
        if any(word in str(spec.type) for word in ("NDArray", "FloatArray", "bytes"))
        and "Callable" not in str(spec.type)
    ]
    assert found
    for kind, spec in found:
        assert not spec.repr, (kind, spec.name)
        assert kind.__eq__ is object.__eq__, kind
