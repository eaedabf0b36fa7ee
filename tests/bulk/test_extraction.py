"""Data sets of real photos on real engines: every input has its row, and the same inputs give the same bytes."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest

import fmedge
from fmedge.bulk import extraction, reduction
from fmedge.bulk.checking import describe_dataset, merge_datasets, verify_dataset, verify_values, wish_of
from fmedge.bulk.dataset import read_key
from fmedge.bulk.finding import find_inputs
from fmedge.bulk.stores import open_store
from fmedge.errors import ArtifactError, ImageError, UsageError, WriteError
from fmedge.model.run_options import RunOptions
from fmedge.workflow.model_files import open_model
from support.data_sets import KEYS, LAYERS, contents, data_path, manifest_path, rows_of
from support.places import ROOT
from support.processes import wait_until

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'fmedge[bulk]'")


def test_every_input_has_its_row(extract, photos, untrained_models, tmp_path):
    summary = extract(tmp_path / "f")
    assert (summary.inputs, summary.done, summary.failed, summary.computed) == (7, 7, 2, 7)
    rows = rows_of(tmp_path / "f")
    assert [row["key"] for row in rows] == KEYS
    assert [row["shard"] for row in rows] == [0, 0, 0, 1, 1, 1, 2]
    for row in rows:
        content = (photos / row["key"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        failed = row["key"] in ("empty.jpg", "b/0.png")
        assert (row["status"] == "failed") == failed == bool(row["reason"])
        if not failed:
            table = pq.read_table(data_path(tmp_path / "f", row["shard"]))
            assert table.column("key")[row["row"]].as_py() == row["key"]
            one = RunOptions("onnxruntime", threads=1)
            ((_, taps),) = fmedge.extract_many(
                [photos / row["key"]], LAYERS, weights="untrained", models=untrained_models, run=one
            )
            for tap in LAYERS:
                maps = taps[tap].maps[0].astype(np.float64)
                found = np.array(table.column(f"{tap}.gem:3")[row["row"]].as_py())
                expected = np.mean(np.maximum(maps, 1e-6) ** 3, axis=(1, 2)) ** (1 / 3)
                np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert verify_dataset(open_store(str(tmp_path / "f"))) == []
    told = describe_dataset(open_store(str(tmp_path / "f")))
    assert (told.ok, told.failed, told.whole) == (5, 2, True)
    assert not any(str(photos).encode() in content for content in contents(tmp_path / "f").values())


def test_the_same_bytes_however_the_work_is_shared(extract, tmp_path):
    extract(tmp_path / "one", threads=1)
    extract(tmp_path / "two", threads=2)
    for number in (2, 1):
        extract(tmp_path / f"job{number}", shard=(number, 2))
    merge_datasets(
        [open_store(str(tmp_path / name)) for name in ("job1", "job2")], open_store(str(tmp_path / "merged"))
    )
    for name in ("two", "merged"):
        assert contents(tmp_path / name) == contents(tmp_path / "one")


def test_what_is_missing_is_made_and_nothing_else(extract, tmp_path, monkeypatch):
    extract(tmp_path / "f")
    whole = contents(tmp_path / "f")
    manifest_path(tmp_path / "f", 1).unlink()  # as if it had ended between the two files of a shard
    before = data_path(tmp_path / "f", 0).stat().st_mtime_ns
    assert extract(tmp_path / "f").computed == 3
    assert contents(tmp_path / "f") == whole
    assert data_path(tmp_path / "f", 0).stat().st_mtime_ns == before
    assert extract(tmp_path / "f").computed == 0


def test_a_shard_that_cannot_be_written_is_not_there(extract, tmp_path, monkeypatch):
    commit = extraction.commit

    def full(folder, key, shard, rows):
        if shard == 1:
            raise WriteError("the disk is full")
        commit(folder, key, shard, rows)

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "commit", full)
        with pytest.raises(WriteError):
            extract(tmp_path / "f")
    assert describe_dataset(open_store(str(tmp_path / "f"))).shards == 1
    assert extract(tmp_path / "f").done == 7
    assert not [path for path in (tmp_path / "f").iterdir() if path.name.startswith(".")]


def test_inputs_that_failed_can_be_tried_again(extract, photos, tmp_path):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    extract(tmp_path / "f", copy)
    shutil.copy(copy / "c.png", copy / "empty.jpg")
    assert extract(tmp_path / "f", copy).failed == 2  # what is committed is done
    summary = extract(tmp_path / "f", copy, retry_failed=True)
    assert (summary.failed, summary.computed) == (1, 6)
    assert [row["key"] for row in rows_of(tmp_path / "f") if row["status"] == "failed"] == ["b/0.png"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pool": "mean"}, "columns"),
        ({"layer": "block1_conv2"}, "model_sha256"),
        ({"dtype": "float16"}, "dtype"),
        ({"l2": True}, "l2"),
        ({"resize": "bilinear"}, "resize"),
        ({"shard_size": 4}, "shard_size"),
    ],
)
def test_other_values_never_mix(extract, tmp_path, change, said):
    extract(tmp_path / "f")
    before = contents(tmp_path / "f")
    with pytest.raises(UsageError, match=f"holds a data set of other .*{said}"):
        extract(tmp_path / "f", **change)
    assert contents(tmp_path / "f") == before


def test_other_arithmetic_never_mixes(extract, tmp_path):
    extract(tmp_path / "f")
    key = tmp_path / "f" / "dataset.json"
    key.write_text(key.read_text().replace('"math": "fp32"', '"math": "bf16"'))  # as another run would have written it
    with pytest.raises(UsageError, match="holds a data set of other math"):
        extract(tmp_path / "f")


def test_other_inputs_never_mix(extract, photos, tmp_path):
    extract(tmp_path / "f")
    with pytest.raises(UsageError, match="other inputs, inputs_sha256"):
        extract(tmp_path / "f", photos / "a")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="holds something else"):
        extract(tmp_path / "g")


def test_number_formats_and_norms(extract, tmp_path):
    options = {"pool": "gem", "layer": "block1_conv1", "l2": True}
    tables = {}
    for dtype in ("float32", "float16", "int8"):
        extract(tmp_path / dtype, dtype=dtype, **options)
        tables[dtype] = pq.read_table(data_path(tmp_path / dtype, 0))
    exact = np.array(tables["float32"].column("block1_conv1.gem:3").to_pylist())
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1, rtol=1e-6)
    half = np.array(tables["float16"].column("block1_conv1.gem:3").to_pylist(), float)
    np.testing.assert_allclose(half, exact, rtol=1e-3)
    codes = np.array(tables["int8"].column("block1_conv1.gem:3").to_pylist())
    scales = np.array(tables["int8"].column("block1_conv1.gem:3.scale").to_pylist())
    assert np.abs(codes * scales[:, None] - exact).max() <= scales.max() / 2 * 1.001


@pytest.mark.parametrize("way", ["pca", "random_projection"])
def test_shortened_vectors(extract, tmp_path, monkeypatch, way):
    monkeypatch.setattr(reduction, "_decompose_apart", reduction._decompose)
    options = {"layer": LAYERS, "pool": ["mean", "grid:2"]}
    extract(tmp_path / "whole", **options)
    extract(tmp_path / "f", **{way: 3}, **options)
    for place, column in enumerate(f"{tap}.{pool}" for tap in LAYERS for pool in options["pool"]):
        vectors, short = (
            np.concatenate([np.array(pq.read_table(path)[column].to_pylist()) for path in sorted(each.glob("data-*"))])
            for each in (tmp_path / "whole", tmp_path / "f")
        )
        assert short.shape == (5, 3)
        stored = np.load(tmp_path / "f" / f"reduction-{place}.npz")
        offset = stored["offset"] if way == "pca" else 0
        np.testing.assert_allclose(short, (vectors - offset) @ stored["matrix"].T, rtol=1e-4, atol=1e-4)
        if way == "pca":
            np.testing.assert_allclose(stored["offset"], vectors.mean(axis=0), rtol=1e-6)
    whole = contents(tmp_path / "f")
    manifest_path(tmp_path / "f", 1).unlink()
    assert extract(tmp_path / "f", **{way: 3}, **options).computed == 3
    assert contents(tmp_path / "f") == whole
    for number in (2, 1):
        extract(tmp_path / f"job{number}", shard=(number, 2), **{way: 3}, **options)
    merge_datasets([open_store(str(tmp_path / name)) for name in ("job1", "job2")], open_store(str(tmp_path / "m")))
    assert contents(tmp_path / "m") == whole
    with pytest.raises(UsageError, match="other columns, reduction"):
        extract(tmp_path / "f", **{way: 2}, **options)
    (tmp_path / "f" / "reduction-0.npz").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not the one that the data set was made with"):
        extract(tmp_path / "f", **{way: 3}, **options)


def test_a_pca_that_cannot_be(extract, photos, tmp_path):
    with pytest.raises(UsageError, match="components"):
        extract(tmp_path / "f", layer="block1_conv1", pca=60)
    with pytest.raises(UsageError, match="in one way"):
        extract(tmp_path / "f", pca=3, random_projection=3)
    with pytest.raises(UsageError, match="only pca is fitted on one"):
        extract(tmp_path / "f", sample=3)
    with pytest.raises(UsageError, match="No image of the PCA's sample can be read"):
        extract(tmp_path / "f", photos / "empty.jpg", pca=1)
    assert not (tmp_path / "f" / "dataset.json").exists()


def test_computing_again_finds_what_differs(extract, photos, fmedge_inprocess, tmp_path, untrained_models):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    extract(tmp_path / "f", copy, layer="block1_conv1", pool="gem", dtype="int8")
    wanted = read_key(open_store(str(tmp_path / "f"))).model_sha256
    (model,) = [
        each for each in untrained_models.glob("*.onnx") if hashlib.sha256(each.read_bytes()).hexdigest() == wanted
    ]
    words = ["dataset", "verify", tmp_path / "f", "--inputs", copy, "--model", model]
    assert "whole" in fmedge_inprocess(*words).stdout
    assert "judged by 2 images" in fmedge_inprocess(*words, "--sample", "2").stdout
    shutil.copy(copy / "c.png", copy / "a" / "1.png")
    assert "'a/1.png' has other bytes" in fmedge_inprocess(*words, code=4).stderr
    shutil.copy(copy / "c.png", copy / "empty.jpg")
    assert "'empty.jpg' is failed there; now it is ok" in fmedge_inprocess(*words, code=4).stderr
    shutil.copytree(photos, copy, dirs_exist_ok=True)
    table = pq.read_table(data_path(tmp_path / "f", 0))
    scales = table.column_names.index("block1_conv1.gem:3.scale")
    pq.write_table(
        table.set_column(scales, "block1_conv1.gem:3.scale", pa.array([1.5] * len(table), pa.float32())),
        data_path(tmp_path / "f", 0),
    )
    assert "The files of shard 0 are not those that were written" in fmedge_inprocess(*words, code=4).stderr
    store = open_store(str(tmp_path / "f"))
    (fault, *_) = verify_values(store, find_inputs([str(copy)]), wish_of(read_key(store), open_model(model)))
    assert fault == "'c.png' has other values of block1_conv1.gem:3 than its image gives now."
    assert "with both, or not at all" in fmedge_inprocess(*words[:-2], code=2).stderr


def test_lists_and_archives_hold_the_same_images(extract, photos, tmp_path):
    names = [key for key in KEYS if key not in ("empty.jpg", "b/0.png")]
    (photos / "list.lst").write_text("\n".join([*names, "gone.png"]))
    try:
        assert extract(tmp_path / "list", photos / "list.lst").failed == 1
    finally:
        (photos / "list.lst").unlink()
    assert rows_of(tmp_path / "list")[-1]["reason"] == "'gone.png' cannot be read: No such file or directory."
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for name in names:
            tar.add(photos / name, name)
        tar.add(photos / "notes.txt", "notes.txt")
    assert extract(tmp_path / "tar", tmp_path / "set.tar").failed == 0
    listed, packed = rows_of(tmp_path / "list")[:-1], rows_of(tmp_path / "tar")
    assert [f"set/{row['key']}" for row in listed] == [row["key"] for row in packed]
    assert [row["sha256"] for row in listed] == [row["sha256"] for row in packed]


def test_what_is_no_input(photos, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="No images"):
        find_inputs([str(tmp_path / "none")])
    with pytest.raises(ImageError, match=r"No file or folder '.*gone\.png'"):
        find_inputs([str(photos), str(tmp_path / "gone.png")])
    (tmp_path / "x.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ImageError, match="not a plain tar archive"):
        find_inputs([str(tmp_path / "x.tar")])
    with tarfile.open(tmp_path / "z.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(ImageError, match="not a plain tar archive"):
        find_inputs([str(tmp_path / "z.tar.gz")])
    with pytest.raises(UsageError, match=r"Two inputs are called 'c\.png'"):
        find_inputs([str(photos / "c.png"), str(photos / "c.png")])


def test_a_link_that_leads_back_ends(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "p")
    (tmp_path / "p" / "a" / "up").symlink_to(tmp_path / "p")
    assert [each.key for each in find_inputs([str(tmp_path / "p")])] == KEYS


def test_what_is_no_file_has_its_row(extract, photos, tmp_path):
    shutil.copytree(photos / "a", tmp_path / "p")
    (tmp_path / "p" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "p" / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(tmp_path / "p" / "pipe.jpg")
    (tmp_path / "p" / "folder.jpg").mkdir()
    shutil.copy(photos / "c.png", tmp_path / "p" / "folder.jpg")
    assert extract(tmp_path / "f", tmp_path / "p").failed == 3
    reasons = {row["key"]: row["reason"] for row in rows_of(tmp_path / "f")}
    assert reasons == {
        "1.png": None,
        "2.jpg": None,
        "circle.jpg": "'circle.jpg' cannot be read: Too many levels of symbolic links.",
        "gone.jpg": "'gone.jpg' cannot be read: No such file or directory.",
        "pipe.jpg": "'pipe.jpg' cannot be read: Not a regular file (pipe, device or similar).",
        "deep/x.webp": None,
        "folder.jpg/c.png": None,
    }
    loop = tmp_path / "p" / "loop"
    loop.symlink_to("loop")
    assert extract(tmp_path / "g", tmp_path / "p").inputs == 7


def test_damage_is_found(extract, tmp_path):
    extract(tmp_path / "f")
    shutil.copy(data_path(tmp_path / "f", 0), data_path(tmp_path / "f", 1))
    assert any("shard 1" in fault for fault in verify_dataset(open_store(str(tmp_path / "f"))))
    manifest_path(tmp_path / "f", 2).write_bytes(b"no parquet")
    assert any("is damaged" in fault for fault in verify_dataset(open_store(str(tmp_path / "f"))))
    with pytest.raises(ArtifactError, match="is damaged"):
        describe_dataset(open_store(str(tmp_path / "f")))
    (tmp_path / "f" / "dataset.json").write_text("{}")
    with pytest.raises(UsageError):
        read_key(open_store(str(tmp_path / "f")))


def test_commands(photos, fmedge_inprocess, tmp_path, untrained_models):
    words = ["extract", photos, "--layer", "block1_conv1", "--weights", "untrained", "--models", untrained_models]
    words += ["--backend", "onnxruntime", "--output", "f", "--shard-size", "3"]
    ran = fmedge_inprocess(*words, "--shard", "2/2", code=9)
    assert "1 input failed. Which, and why: fmedge dataset info f" in ran.stderr
    assert fmedge_inprocess("dataset", "info", "f").stdout.startswith("f: 2 of 7 images, 1 of 3 shards\n")
    assert fmedge_inprocess(*words, code=9).stdout == "f\n"
    assert "whole; 5 images, 2 failed" in fmedge_inprocess("dataset", "verify", "f").stdout
    assert "Cannot decode it as an image" in fmedge_inprocess("dataset", "info", "f").stderr
    assert "0 images computed" in fmedge_inprocess(*words, code=9).stderr
    fmedge_inprocess("dataset", "merge", "f", "--output", "g")
    assert contents(tmp_path / "f") == contents(tmp_path / "g")
    both = ("extract", photos, "--model", "x.onnx", "--scale", "1", "--output", "h")
    assert "--model determines" in fmedge_inprocess(*both, code=2).stderr
    assert "not a share" in fmedge_inprocess(*words, "--shard", "x", code=2).stderr
    assert "is none" in fmedge_inprocess(*words, "--shard", "3/2", code=2).stderr
    assert "is not a data set" in fmedge_inprocess("dataset", "info", ".", code=2).stderr


def test_without_pyarrow_one_line_says_so(fmedge_inprocess, photos, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    failed = fmedge_inprocess("extract", photos, "--weights", "untrained", "--output", "f", code=5)
    assert failed.stderr == "Error: Data sets need pyarrow. Install it: pip install 'fmedge[bulk]'.\n"
    assert not (tmp_path / "f").exists()


def test_an_interrupt_leaves_whole_shards(photos, tmp_path, untrained_models, extract):
    words = [
        photos,
        "--layer",
        "+".join(LAYERS),
        "--weights",
        "untrained",
        "--models",
        untrained_models,
        "--threads",
        "1",
    ]
    words += ["--backend", "onnxruntime", "--pool", "gem,grid:2", "--shard-size", "1", "--output", "f"]
    extract(tmp_path / "whole", shard_size=1)
    command = [sys.executable, "-m", "fmedge", "extract", *map(str, words)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE
    )
    wait_until(process, lambda: (tmp_path / "f" / "manifest-000000.parquet").exists())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (130, 9)  # 9: it had been done by then
    assert verify_dataset(open_store(str(tmp_path / "f"))) == []
    extract(tmp_path / "f", shard_size=1)
    assert contents(tmp_path / "f") == contents(tmp_path / "whole")
