"""The public face: what it takes, as a program of somebody else's would give it."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fmedge
from fmedge.data import image_bounds
from fmedge.exceptions import ImageError, LimitExceeded, UsageError
from support.places import ROOT

STOCK = {"weights": "untrained"}


class Elsewhere:
    """A path that is neither text nor pathlib's."""

    def __init__(self, path):
        self._path = str(path)

    def __fspath__(self):
        return self._path


@pytest.fixture
def models(block1):
    return block1.path.parent


@pytest.fixture
def small(tmp_path):
    """A photo that is turned: 30 rows of 50 pixels, stored as 50 rows."""
    pixels = np.random.default_rng(7).integers(0, 256, (50, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    return tmp_path / "turned.png"


def test_an_image_may_be_a_path_bytes_an_image_or_an_array(small, models):
    wanted = fmedge.extract(small, models=models, **STOCK)
    assert wanted.provenance.image_size == (30, 50)
    with Image.open(small) as opened:
        upright = np.rot90(np.asarray(opened), -1)
    with Image.open(small) as opened:
        found = {
            "turned.png": fmedge.extract(str(small), models=str(models), **STOCK),
            "<bytes>": fmedge.extract(small.read_bytes(), models=Elsewhere(models), **STOCK),
            "<image>": fmedge.extract(opened, models=models, **STOCK),
            "<array>": fmedge.extract(upright, models=models, **STOCK),
        }
        assert opened.size == (30, 50)
        opened.getpixel((0, 0))  # it is still open
    for name, maps in found.items():
        np.testing.assert_array_equal(maps, wanted, name)
        np.testing.assert_array_equal(maps.pixels, wanted.pixels, name)
        assert maps.provenance.image_name == name
        assert maps.provenance.image_size == (30, 50)


def test_images_of_all_kinds_at_once(small, models):
    sources = [small, str(small), small.read_bytes(), np.zeros((4, 4, 3), np.uint8), b"no image"]
    failed = []
    results = list(fmedge.extract_many(sources, models=models, on_error=lambda *told: failed.append(told), **STOCK))
    assert [type(source) for source, _ in results] == [type(small), type(small), bytes, np.ndarray]
    ((source, error),) = failed
    assert source == b"no image"
    assert isinstance(error, ImageError)
    assert str(error) == "Cannot decode '<bytes>' as an image. Allowed: undamaged JPEG, PNG, WebP or BMP."


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (3, "got int. Allowed: a path, the bytes"),
        (None, "got NoneType"),
        (np.zeros((4, 4, 3), np.float32), "array of float32, 4 x 4 x 3. Allowed: uint8"),
        (np.zeros((4, 4), np.uint8), "array of uint8, 4 x 4. "),
        (np.zeros((4, 4, 4), np.uint8), "4 x 4 x 4"),
        (np.zeros((0, 4, 3), np.uint8), "0 x 4 x 3"),
        (Elsewhere, "got type"),
    ],
    ids=str,
)
def test_other_images_are_refused(models, image, words):
    with pytest.raises(UsageError, match=words):
        fmedge.extract(image, models=models, **STOCK)


def test_one_image_is_not_several(small, models):
    for image in (small.read_bytes(), np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (4, 4))):
        with pytest.raises(UsageError, match="got one image"):
            fmedge.extract_many(image, models=models, **STOCK)


@pytest.mark.parametrize("kind", [bytes, Image.Image, np.ndarray])
def test_bounds_hold_for_what_is_no_file(small, models, kind):
    pixels = np.zeros((50, 30, 3), np.uint8)
    sources = {bytes: small.read_bytes(), Image.Image: Image.fromarray(pixels), np.ndarray: pixels}
    with pytest.raises(LimitExceeded, match="50 x 30 pixels; at most 1,499 pixels allowed") as caught:
        fmedge.extract(sources[kind], models=models, run=fmedge.RunOptions(max_pixels=1499), **STOCK)
    assert "--max-pixels" in caught.value.hint


def test_bounds_on_files_hold_for_bytes(small, models, monkeypatch):
    monkeypatch.setattr(image_bounds, "MAX_FILE_BYTES", 1000)
    with pytest.raises(LimitExceeded, match=r"'<bytes>' has .* bytes; at most 1,000 allowed"):
        fmedge.extract(small.read_bytes(), models=models, **STOCK)


def test_progressive_scans_of_bytes_are_counted(models, monkeypatch):
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=True)
    monkeypatch.setattr(image_bounds, "MAX_SCANS", 2)
    with pytest.raises(LimitExceeded, match="more than the 2 scans"):
        fmedge.extract(file.getvalue(), models=models, **STOCK)


def test_layers_in_a_sequence(small, tmp_path):
    layers = ["block1_conv2", "block1_conv1"]
    ((_, taps),) = fmedge.extract_many([small], layers, models=tmp_path, **STOCK)
    assert list(taps) == ["block1_conv1", "block1_conv2"]
    artifact = fmedge.export_submodel(tuple(layers), models=tmp_path, **STOCK)
    assert artifact.path.name.startswith("block1_conv1+block1_conv2.")
    assert fmedge.read_artifact(str(artifact.path)) == fmedge.read_artifact(Elsewhere(artifact.path)) == artifact


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "No layer given"),
        (["block1_conv1", 3], "layer: got"),
        (["all"], "Unknown layer 'all'"),
        (b"block1_conv1", "layer: got"),
        (["block1_conv1", "block1_conv1"], "named twice"),
    ],
    ids=str,
)
def test_other_layers_are_refused(small, models, layers, words):
    with pytest.raises(UsageError, match=words):
        fmedge.extract(small, layers, models=models, **STOCK)


@pytest.mark.parametrize("path", [3, b"models", 1.5])
def test_what_is_no_path_is_refused(small, path):
    with pytest.raises(UsageError, match="Allowed: a path"):
        fmedge.extract(small, models=path, **STOCK)
    with pytest.raises(UsageError, match="Allowed: a path"):
        fmedge.read_artifact(path)
    with pytest.raises(UsageError, match="Allowed: a path"):
        fmedge.export_submodel(models=path, **STOCK)
    with pytest.raises(UsageError, match="Allowed: a path"):
        fmedge.export_submodel(calibration=path, **STOCK)


def test_words_stand_for_enumerations(tmp_path):
    options = fmedge.ExportOptions(format="tflite", precision="fp16", output_layout="NHWC")
    assert (options.format.name, options.precision.name) == ("TFLITE", "FP16")
    with pytest.raises(UsageError, match=r"Unknown precision 'fp61'\. Closest: 'fp16'"):
        fmedge.ExportOptions(precision="fp61")


def test_a_session_is_told_in_one_line(block1):
    with fmedge.open_session(block1, fmedge.RunOptions(threads=1)) as session:
        assert repr(session) == (
            f"Session('block1_conv1', {session.backend} on {session.active_provider}, fp32, threads=1)"
        )
    assert repr(session).endswith(", closed)")


def test_warnings_as_errors(small, models):
    """The whole of the public face in a process where every warning is an error."""
    script = (
        "import sys, fmedge\n"
        "for name in fmedge.__all__: getattr(fmedge, name)\n"
        "import fmedge.exceptions\n"
        "maps = fmedge.extract(sys.argv[1], models=sys.argv[2], weights='untrained')\n"
        "repr(maps), maps._repr_html_(), fmedge.render_page(maps), fmedge.render_sheet(maps), fmedge.embed(maps)\n"
        "fmedge.figure(maps, channel=1)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(small), str(models)], capture_output=True, text=True, cwd=ROOT
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
