"""Every form of files holds the same values, and is read in the few lines that the documents show."""

import re

import numpy as np
import pytest

from fmedge.bulk.checking import merge_datasets, verify_dataset
from fmedge.bulk.dataset import done_shards, read_key
from fmedge.bulk.formats import FORMATS, find_format
from fmedge.bulk.key import scale_name
from fmedge.bulk.stores import open_store
from fmedge.errors import BackendUnavailable, UsageError
from support.data_sets import KEYS, contents, manifest_path, rows_of
from support.places import ROOT

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")
GOOD = [key for key in KEYS if key not in ("empty.jpg", "b/0.png")]


@pytest.fixture(params=list(FORMATS))
def form(request):
    try:
        find_format(request.param)
    except BackendUnavailable as error:
        pytest.skip(f"{error} {error.hint}")
    return request.param


def read_values(folder, column):
    """The values of all images that did not fail, by their keys."""
    store = open_store(str(folder))
    key = read_key(store)
    values = {}
    rows = rows_of(folder)
    for shard in done_shards(store, key):
        arrays = FORMATS[key.format].decode(key, shard, store.read)[1]
        scales = arrays.get(scale_name(column))
        for row in rows:
            if row["shard"] == shard and row["status"] == "ok":
                found = arrays[column][row["row"]].astype(np.float64)
                values[row["key"]] = found if scales is None else found * scales[row["row"]]
    return values


@pytest.fixture(scope="module")
def exact(photos, untrained_models):
    """Maps and vectors by the keys of the images."""
    import fmedge

    found = {}
    run = fmedge.RunOptions("onnxruntime", threads=1)
    many = fmedge.extract_many(
        [photos / name for name in GOOD], "block1_pool", weights="untrained", models=untrained_models, run=run
    )
    for name, (_, taps) in zip(GOOD, many, strict=True):
        maps = taps.maps[0] if hasattr(taps, "maps") else taps["block1_pool"].maps[0]
        found[name] = maps, maps.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    return found


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 2**-11), ("int8", 0.5 / 127)])
@pytest.mark.parametrize("pool", ["mean", "none"])
def test_the_same_values_in_every_form(extract, exact, form, dtype, error, pool, tmp_path):
    options = {"layer": "block1_pool", "pool": pool, "format": form, "dtype": dtype}
    if pool == "none" and not FORMATS[form].maps:
        with pytest.raises(UsageError, match="holds vectors, not maps"):
            extract(tmp_path / "f", **options)
        return
    extract(tmp_path / "f", **options)
    found = read_values(tmp_path / "f", f"block1_pool.{pool}")
    assert sorted(found) == sorted(GOOD)
    for name, values in found.items():
        wanted = exact[name][0 if pool == "none" else 1]
        assert values.shape == wanted.shape
        assert np.abs(values - wanted).max() <= error * np.abs(wanted).max() * 1.0001
    assert verify_dataset(open_store(str(tmp_path / "f"))) == []


def test_the_same_bytes_after_a_loss_and_a_merge(extract, form, tmp_path):
    options = {"layer": "block1_pool", "pool": "mean", "format": form}
    extract(tmp_path / "whole", **options)
    for number in (1, 2):
        extract(tmp_path / f"job{number}", shard=(number, 2), threads=1, **options)
    merge_datasets([open_store(str(tmp_path / f"job{number}")) for number in (2, 1)], open_store(str(tmp_path / "m")))
    assert contents(tmp_path / "m") == contents(tmp_path / "whole")
    manifest_path(tmp_path / "m", 1).unlink()
    assert extract(tmp_path / "m", **options).computed == 3
    assert contents(tmp_path / "m") == contents(tmp_path / "whole")


def test_damage_in_every_form(extract, form, tmp_path):
    extract(tmp_path / "f", layer="block1_pool", pool="mean", format=form)
    for path in sorted((tmp_path / "f").rglob("*")):
        if path.is_file() and not path.name.endswith(".json"):
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            assert verify_dataset(open_store(str(tmp_path / "f"))), path
            path.unlink()
            assert verify_dataset(open_store(str(tmp_path / "f"))) or path.name.startswith("manifest"), path
            path.write_bytes(whole)
    assert verify_dataset(open_store(str(tmp_path / "f"))) == []


def test_zarr_is_one_array_of_all_images(extract, exact, tmp_path):
    xarray = pytest.importorskip("xarray", reason="needs xarray")
    pytest.importorskip("zarr", reason="needs zarr: pip install 'fmedge[zarr]'")
    extract(tmp_path / "f.zarr", layer="block1_pool", pool="none", format="zarr")
    maps = xarray.open_zarr(tmp_path / "f.zarr")["block1_pool.none"]
    assert maps.dims == ("image", "channel", "row", "column")
    assert maps.shape == (7, 64, 112, 112)
    for place, key in enumerate(KEYS):
        if key in GOOD:
            np.testing.assert_array_equal(maps[place].values, exact[key][0])
        else:
            assert np.isnan(maps[place].values).all()


def test_values_too_large_for_float16_are_said(extract, photos, tmp_path, monkeypatch):
    from fmedge.bulk import rows

    monkeypatch.setattr(rows, "normalized", lambda vector: vector * np.float32(1e6))
    assert extract(tmp_path / "f", layer="block1_pool", pool="max", dtype="float16", l2=True).failed == 7
    assert re.fullmatch(r"Its values, up to [\d.e+]+, do not fit into float16\.", rows_of(tmp_path / "f")[0]["reason"])


READING = (ROOT / "docs" / "bulk.md").read_text().partition("## Reading it")[2].partition("\n## ")[0]
CODE = re.findall(r"```python\n(.*?)```", READING, re.DOTALL)


@pytest.mark.parametrize("code", CODE, ids=lambda code: re.search(r"import ([\w, .]+)", code)[1])
def test_reading_as_the_documents_say(extract, exact, code, tmp_path, monkeypatch):
    for name in ("pandas", "polars", "torch", "xarray", "zarr", "safetensors", "h5py"):
        if re.search(rf"\b{name}\b", code):
            pytest.importorskip(name, reason=f"needs {name}")
    form = next((name for name in ("zarr", "safetensors", "hdf5", "npy") if f"features.{name}" in code), "parquet")
    maps = ".none" in code
    output = tmp_path / ("features" if form == "parquet" else f"features.{form}")
    extract(output, layer="block1_pool", pool="none" if maps else "mean", format=form)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(re.sub(r"block\d_\w+\.\w+([:-]\d)?", "block1_pool." + ("none" if maps else "mean"), code), found)
    values = np.asarray(found["maps" if maps else "vectors"])
    values = values[~np.isnan(values).reshape(len(values), -1).any(axis=1)]
    np.testing.assert_array_equal(values, [exact[name][0 if maps else 1] for name in GOOD])


def test_a_form_whose_package_is_missing(monkeypatch, fmedge_inprocess, photos, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "zarr", None)
    ran = fmedge_inprocess("extract", photos, "--format", "zarr", "--output", "f", code=5)
    assert ran.stderr == "Error: zarr is missing. Install it: pip install 'fmedge[zarr]'.\n"
