"""Data sets of real photos on real engines: every input has its row, and the same inputs give the same bytes."""

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest

import fmedge
from fmedge.bulk import extraction
from fmedge.bulk.checking import describe_dataset, merge_datasets, verify_dataset
from fmedge.bulk.dataset import data_path, manifest_path, read_key
from fmedge.bulk.inputs import find_inputs
from fmedge.errors import ArtifactError, ImageError, UsageError, WriteError
from fmedge.model.run_options import RunOptions
from support.places import ROOT
from support.processes import wait_until

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'fmedge[bulk]'")

LAYERS = ["block1_conv1", "block1_pool"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Seven images in folders, two of them none."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(9)
    for name in ("b/1.png", "a/2.jpg", "a/1.png", "c.png", "a/deep/x.webp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    (folder / "b" / "0.png").write_bytes(b"no photo")
    (folder / "empty.jpg").touch()
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").write_text("c.png\n")
    return folder


KEYS = ["c.png", "empty.jpg", "a/1.png", "a/2.jpg", "a/deep/x.webp", "b/0.png", "b/1.png"]


@pytest.fixture
def extract(photos, untrained_models):
    def run(output, inputs=None, **options):
        options = {"shard_size": 3, "pool": ["gem", "grid:2"], **options}
        run = RunOptions("onnxruntime", threads=options.pop("threads", 2))
        return fmedge.extract_dataset(
            photos if inputs is None else inputs,
            options.pop("layer", LAYERS),
            weights="untrained",
            models=untrained_models,
            output=output,
            run=run,
            **options,
        )

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(folder):
    return [row for path in sorted(folder.glob("manifest-*")) for row in pq.read_table(path).to_pylist()]


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
    assert verify_dataset(tmp_path / "f") == []
    told = describe_dataset(tmp_path / "f")
    assert (told.ok, told.failed, told.whole) == (5, 2, True)
    assert not any(str(photos).encode() in content for content in contents(tmp_path / "f").values())


def test_the_same_bytes_however_the_work_is_shared(extract, tmp_path):
    extract(tmp_path / "one", threads=1)
    extract(tmp_path / "two", threads=2)
    for number in (2, 1):
        extract(tmp_path / f"job{number}", shard=(number, 2))
    merge_datasets([tmp_path / "job1", tmp_path / "job2"], tmp_path / "merged")
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
    assert describe_dataset(tmp_path / "f").shards == 1
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


def test_reading_as_the_documents_say(extract, monkeypatch, tmp_path):
    text = (ROOT / "docs" / "bulk.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    extract(tmp_path / "features")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code.replace("block3_conv3.gem:3", "block1_conv1.gem:3"), found)
    assert found["vectors"].shape == (5, 64)
    assert found["vectors"].dtype == np.float32
    assert found["keys"] == [key for key in KEYS if key not in ("empty.jpg", "b/0.png")]


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
        find_inputs([tmp_path / "none"])
    with pytest.raises(ImageError, match=r"No file or folder '.*gone\.png'"):
        find_inputs([photos, tmp_path / "gone.png"])
    (tmp_path / "x.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ImageError, match="not a plain tar archive"):
        find_inputs([tmp_path / "x.tar"])
    with tarfile.open(tmp_path / "z.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(ImageError, match="not a plain tar archive"):
        find_inputs([tmp_path / "z.tar.gz"])
    with pytest.raises(UsageError, match=r"Two inputs are called 'c\.png'"):
        find_inputs([photos / "c.png", photos / "c.png"])


def test_a_link_that_leads_back_ends(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "p")
    (tmp_path / "p" / "a" / "up").symlink_to(tmp_path / "p")
    assert [each.key for each in find_inputs([tmp_path / "p"])] == KEYS


def test_damage_is_found(extract, tmp_path):
    extract(tmp_path / "f")
    shutil.copy(data_path(tmp_path / "f", 0), data_path(tmp_path / "f", 1))
    assert any("shard 1" in fault for fault in verify_dataset(tmp_path / "f"))
    manifest_path(tmp_path / "f", 2).write_bytes(b"no parquet")
    assert any("is damaged" in fault for fault in verify_dataset(tmp_path / "f"))
    with pytest.raises(ArtifactError, match="is damaged"):
        describe_dataset(tmp_path / "f")
    (tmp_path / "f" / "dataset.json").write_text("{}")
    with pytest.raises(UsageError):
        read_key(tmp_path / "f")


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
    assert verify_dataset(tmp_path / "f") == []
    extract(tmp_path / "f", shard_size=1)
    assert contents(tmp_path / "f") == contents(tmp_path / "whole")
