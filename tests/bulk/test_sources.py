"""Images in tables of Parquet and in data sets of HDF5: the same values as from files."""

import h5py
import numpy as np
import pytest
from PIL import Image

from fmedge.bulk.finding import find_inputs
from fmedge.bulk.inputs import Keys
from fmedge.errors import ImageError, UsageError
from support.data_sets import KEYS, rows_of

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = [key for key in KEYS if key not in ("empty.jpg", "b/0.png")]


def write_table(path, photos, kind):
    contents = [(photos / name).read_bytes() for name in NAMES]
    values = {
        "bytes": pa.array(contents, pa.binary()),
        "large": pa.array(contents, pa.large_binary()),
        "record": pa.array([{"bytes": each, "path": None} for each in contents]),
        "path": pa.array([str(photos / name) for name in NAMES]),
    }[kind]
    pq.write_table(pa.table({"image": values, "label": list(range(len(NAMES)))}), path, row_group_size=2)


@pytest.mark.parametrize("kind", ["bytes", "large", "record", "path"])
def test_tables(extract, photos, tmp_path, kind):
    write_table(tmp_path / "t.parquet", photos, kind)
    summary = extract(tmp_path / "f", tmp_path / "t.parquet", column="image")
    assert (summary.inputs, summary.failed) == (5, 0)
    extract(tmp_path / "whole")
    sha256 = {row["key"]: row["sha256"] for row in rows_of(tmp_path / "whole")}
    assert [row["sha256"] for row in rows_of(tmp_path / "f")] == [sha256[name] for name in NAMES]
    keys = [str(photos / name) for name in NAMES] if kind == "path" else [f"t/{row}" for row in range(5)]
    assert [row["key"] for row in rows_of(tmp_path / "f")] == keys


def test_rows_of_a_table_in_any_order(photos, tmp_path):
    write_table(tmp_path / "t.parquet", photos, "bytes")
    found = find_inputs([str(tmp_path / "t.parquet")])  # the only column of bytes
    for place in (0, 1, 4, 2, 3, 3, 0):
        assert found[place].read() == (photos / NAMES[place]).read_bytes()


def test_rows_without_an_image_fail_alone(extract, photos, tmp_path):
    content = (photos / NAMES[0]).read_bytes()
    pq.write_table(pa.table({"image": pa.array([content, None, b"none"], pa.binary())}), tmp_path / "t.parquet")
    assert extract(tmp_path / "f", tmp_path / "t.parquet").failed == 2
    assert [row["reason"] for row in rows_of(tmp_path / "f")] == [
        None,
        "'t/1' cannot be read: its row is empty.",
        "Cannot decode it as an image. Allowed: undamaged JPEG, PNG, WebP or BMP.",
    ]


@pytest.mark.parametrize("form", ["last", "first", "grey", "bytes"])
def test_hdf5(extract, photos, tmp_path, form):
    pixels = np.random.default_rng(2).integers(0, 256, (4, 20, 30, 3), np.uint8)
    expected = pixels
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["labels/number"] = np.arange(4)
        if form == "bytes":
            kind = h5py.vlen_dtype(np.uint8)
            data = file.create_dataset("images", (5,), kind)
            for place, name in enumerate(NAMES):
                data[place] = np.frombuffer((photos / name).read_bytes(), np.uint8)
        elif form == "grey":
            file["images"] = pixels[..., 0]
            expected = np.repeat(pixels[..., :1], 3, axis=3)
        else:
            file["images"] = pixels if form == "last" else pixels.transpose(0, 3, 1, 2)
    found = find_inputs([str(tmp_path / "x.h5")], "images")
    for place in (1, 0, 3):
        wanted = (photos / NAMES[place]).read_bytes() if form == "bytes" else expected[place]
        np.testing.assert_array_equal(found[place].read(), wanted)
    summary = extract(tmp_path / "f", tmp_path / "x.h5", column="images")
    assert (summary.inputs, summary.failed) == (5 if form == "bytes" else 4, 0)
    folder = tmp_path / "files"
    folder.mkdir()
    if form != "bytes":
        for place, each in enumerate(expected):
            Image.fromarray(each).save(folder / f"{place}.png")
        extract(tmp_path / "g", folder)
        for this, that in zip(pq_values(tmp_path / "f"), pq_values(tmp_path / "g"), strict=True):
            np.testing.assert_array_equal(this, that)


def pq_values(folder):
    return [
        np.array(pq.read_table(path)["block1_conv1.gem:3"].to_pylist())
        for path in sorted(folder.glob("data-*.parquet"))
    ]


def test_what_cannot_be_meant(photos, tmp_path):
    write_table(tmp_path / "t.parquet", photos, "bytes")
    with pytest.raises(UsageError, match=r"has no column 'img'\. There: 'image', 'label'\."):
        find_inputs([str(tmp_path / "t.parquet")], "img")
    with pytest.raises(UsageError, match="neither bytes of images nor their paths"):
        find_inputs([str(tmp_path / "t.parquet")], "label")
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), tmp_path / "two.parquet")
    with pytest.raises(UsageError, match=r"Which column of .* holds the images"):
        find_inputs([str(tmp_path / "two.parquet")])
    pq.write_table(pa.table({"a": ["x", None]}), tmp_path / "gap.parquet")
    with pytest.raises(UsageError, match="a row without a text"):
        find_inputs([str(tmp_path / "gap.parquet")], "a")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ImageError, match="is not a Parquet file"):
        find_inputs([str(tmp_path / "x.parquet")])
    (tmp_path / "x.h5").write_bytes(b"no")
    with pytest.raises(ImageError, match="is not HDF5"):
        find_inputs([str(tmp_path / "x.h5")])
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["a"], file["b"] = np.zeros((2, 3)), np.zeros(2)
        file["link"] = h5py.ExternalLink("other.h5", "/images")
        file.create_dataset("far", (2, 4, 4, 3), np.uint8, external=[("/etc/passwd", 0, 96)])
    for name, said in (
        (None, "Which data set"),
        ("c", "has no data set 'c'"),
        ("link", "has no data set 'link'"),
        ("a", "has float64 of shape"),
    ):
        with pytest.raises(UsageError, match=said):
            find_inputs([str(tmp_path / "y.h5")], name)
    with pytest.raises(ImageError, match="lies in other files"):
        find_inputs([str(tmp_path / "y.h5")], "far")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{000..002}.png", ["000.png", "001.png", "002.png"]),
        ("{9..11}.png", ["9.png", "10.png", "11.png"]),
        ("{a,b}{1..2}.png", ["a1.png", "a2.png", "b1.png", "b2.png"]),
        ("a{b}.png", ["a{b}.png"]),
    ],
)
def test_braces(photos, tmp_path, pattern, names):
    for name in names:
        (tmp_path / name).write_bytes((photos / "c.png").read_bytes())
    assert [each.key for each in find_inputs([str(tmp_path / pattern)])] == names


def test_keys_in_one_piece():
    texts = ["", "a", "ä/ü.png", "\udcff.jpg"]
    keys = Keys(texts)
    assert list(keys) == texts == keys[:]
    assert keys[1:3] == texts[1:3]
    with pytest.raises(IndexError):
        keys[4]


def test_a_data_set_within_its_images(extract, photos):
    with pytest.raises(UsageError, match="would lie within the images"):
        extract(photos / "features")
