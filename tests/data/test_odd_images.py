"""Files that break image loaders: what a viewer would show, or one line and exit 3 (7: too many pixels).

Each is decoded in a process that has 1 GB of address space, and 5 seconds of computing for a file.
"""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmedge.data.image_bounds import DEFAULT_PIXELS, MAX_PIXELS
from fmedge.data.images import load_photo
from support.decoding import decoded, posix
from support.image_files import bitmap, chunk, jpeg, png, webp, zeros
from support.places import TEST_DATA

ODD = TEST_DATA / "odd_images"


@pytest.fixture
def decode(cases):
    """Exit code and size, or message, of each file; all in one process with little memory and time."""
    return lambda *paths: cases("images", len(paths)) or decoded(*paths)


BOMBS = {
    "header.png": lambda: png(65_000, 65_000),
    "header-of-grey.png": lambda: png(65_000, 65_000, depth=1, colour=0),
    "longest.png": lambda: png(2**31 - 1, 2**31 - 1),
    "one-row.png": lambda: png(1, 2**31 - 1),
    "header.bmp": lambda: bitmap(65_000, 65_000),
    "widest.bmp": lambda: bitmap(1, 2**31 - 1),
    "header.jpg": lambda: jpeg(65_000, 65_000),
    "negative.bmp": lambda: bitmap(5, -5),
    "header.webp": lambda: webp(16383, 16383),
    "just-over.png": lambda: png(DEFAULT_PIXELS // 1000 + 1, 1000),
    "just-over.jpg": lambda: jpeg(9460, 9460),
}


@posix
def test_bombs_are_told_by_their_header(decode, tmp_path):
    for name, made in BOMBS.items():
        (tmp_path / name).write_bytes(made())
    outcomes = decode(*tmp_path.iterdir())
    assert {Path(name).name: code for name, (code, _) in outcomes.items()} == dict.fromkeys(BOMBS, 7)
    assert all("pixels allowed" in said for _, said in outcomes.values())


@posix
def test_the_largest_that_is_allowed_is_decoded_or_needs_more_memory(decode, tmp_path):
    side = 9459  # squared just below the bound
    path = tmp_path / "zeros.png"
    path.write_bytes(png(side, side, zeros(side, side)))
    assert path.stat().st_size < 500_000
    ((code, said),) = decode(path).values()
    assert code in {0, 7}
    assert said == [side, side] or "needs more memory" in said


HOSTILE = {
    "no-pixels.png": lambda: png(0, 5, zeros(1, 1)),
    "no-pixels.jpg": lambda: jpeg(0, 5),
    "cut.png": lambda: png(100, 100, chunk(b"IDAT", zlib.compress(bytes(301))))[:-20],
    "empty-data.png": lambda: png(100, 100),
    "colour-7.png": lambda: png(5, 5, zeros(5, 5), colour=7),
    "depth-3.png": lambda: png(5, 5, zeros(5, 5), depth=3),
    "text-bomb.png": lambda: png(5, 5, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9)), zeros(5, 5)),
    "profile-bomb.png": lambda: png(5, 5, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 9)), zeros(5, 5)),
    "long-chunk.png": lambda: png(5, 5)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT",
    "only-magic.png": lambda: b"\x89PNG\r\n\x1a\n",
    "only-magic.jpg": lambda: b"\xff\xd8",
    "only-magic.webp": lambda: b"RIFF\0\0\0\0WEBP",
    "only-magic.bmp": lambda: b"BM",
    "zeros.jpg": lambda: bytes(100_000),
    "ones.jpg": lambda: b"\xff" * 100_000,
}


@posix
def test_broken_files_end_in_one_line(decode, tmp_path):
    for name, made in HOSTILE.items():
        (tmp_path / name).write_bytes(made())
    outcomes = {Path(name).name: code for name, (code, _) in decode(*tmp_path.iterdir()).items()}
    assert outcomes == dict.fromkeys(HOSTILE, 3)


def fits():
    cards = ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2",
             "NAXIS1  =                   16", "NAXIS2  =                   16", "END")  # fmt: skip
    return "".join(f"{card:<80}" for card in cards).ljust(2880).encode() + bytes(2880)


DISGUISED = {
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n(/etc/hostname) run\n%%EOF\n",
    "fits": fits,
    "psd": lambda: b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 16, 16, 8, 3) + bytes(12) + bytes(2 + 768),
    "tiff": lambda: b"II*\0" + struct.pack("<IHHHII", 8, 1, 256, 3, 1, 16),
    "svg": lambda: (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>'
    ),
    "pdf": lambda: b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
    "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + b";",
    "jp2": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "ico": lambda: struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, 40, 22) + bytes(40),
    "ppm": lambda: b"P6 16 16 255\n" + bytes(768),
    "zip": lambda: b"PK\x03\x04" + bytes(60),
    "html": lambda: b"<!doctype html><script>alert(1)</script>",
}


@posix
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_other_formats_under_a_name_of_ours(decode, tmp_path, suffix):
    for kind, made in DISGUISED.items():
        (tmp_path / f"{kind}.{suffix}").write_bytes(made())
    outcomes = decode(*tmp_path.iterdir())
    assert {code for code, _ in outcomes.values()} == {3}
    assert len(outcomes) == len(DISGUISED)


@posix
def test_what_is_no_file(decode, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "null.jpg").symlink_to("/dev/null")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("gone.jpg")
    (tmp_path / "memory.jpg").symlink_to("/proc/self/mem")
    outcomes = decode(*tmp_path.iterdir(), "/dev/zero", "/dev/stdin")
    assert {code for code, _ in outcomes.values()} == {3}
    assert len(outcomes) == 9


@posix
@pytest.mark.parametrize("name", ["zero.jpg", "pipe.jpg", "bomb.png", "eps.jpg"])
def test_the_command(fmedge_process, tmp_path, models, name):
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "bomb.png").write_bytes(png(65_000, 65_000))
    (tmp_path / "eps.jpg").write_bytes(DISGUISED["eps"]())
    words = ["run", name, "--weights", "untrained", "--models", models]
    line = fmedge_process(*words, code=7 if name == "bomb.png" else 3).stderr
    assert line.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))


@pytest.fixture
def models(block1):
    return block1.path.parent


def test_one_pixel(tmp_path):
    for suffix in ("png", "bmp", "webp", "jpg"):
        path = tmp_path / f"a.{suffix}"
        Image.new("RGB", (1, 1), (255, 255, 255)).save(path)
        photo = load_photo(path, (224, 224))
        assert photo.original_size == (1, 1)
        assert (photo.pixels > 250).all()
    for size in ((1, 2000), (2000, 1)):
        Image.new("RGB", size, (9, 9, 9)).save(tmp_path / "b.png")
        assert load_photo(tmp_path / "b.png", None).pixels.shape == (*size[::-1], 3)


def test_max_pixels(fmedge_inprocess, tmp_path, models):
    Image.new("RGB", (30, 20), (9, 9, 9)).save(tmp_path / "a.png")
    words = ["run", "a.png", "--weights", "untrained", "--models", models, "--no-page", "--save-maps", "m.npz"]
    said = fmedge_inprocess(*words, "--max-pixels", "599", code=7).stderr
    assert said == (
        "Error: 'a.png' has 20 x 30 pixels; at most 599 pixels allowed. Make it smaller, or raise --max-pixels.\n"
    )
    fmedge_inprocess(*words, "--max-pixels", "600")
    for wrong in ("0", "-1", str(MAX_PIXELS + 1)):
        assert f"Allowed: 1 to {MAX_PIXELS}" in fmedge_inprocess(*words, "--max-pixels", wrong, code=2).stderr
    assert f"at most {MAX_PIXELS}" in " ".join(fmedge_inprocess("run", "--help").stdout.split())
    assert f"[default: {DEFAULT_PIXELS}]" in " ".join(fmedge_inprocess("run", "--help").stdout.split())


def test_max_pixels_from_python(block1, tmp_path):
    import fmedge
    from fmedge.errors import LimitExceeded
    from fmedge.workflow.pipeline import run_artifact

    Image.new("RGB", (30, 20), (9, 9, 9)).save(tmp_path / "a.png")
    with pytest.raises(LimitExceeded, match="at most 599 pixels"):
        run_artifact(block1, tmp_path / "a.png", run=fmedge.RunOptions(max_pixels=599))
    refused = []
    words = {"weights": "untrained", "models": block1.path.parent, "run": fmedge.RunOptions(max_pixels=599)}
    assert not list(fmedge.extract_many([tmp_path / "a.png"], on_error=lambda *each: refused.append(each), **words))
    assert len(refused) == 1


@posix
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bound_above_the_default(tmp_path):
    Image.new("1", (9500, 9500)).save(tmp_path / "a.png")
    assert load_photo(tmp_path / "a.png", (8, 8), max_pixels=MAX_PIXELS).original_size == (9500, 9500)


DECODED = {
    "hopper_orientation_2.jpg", "hopper_orientation_3.jpg", "hopper_orientation_4.jpg", "hopper_orientation_6.jpg",
    "hopper_orientation_7.jpg", "hopper.jpg", "hopper.png", "hopper.webp", "hopper_gray.jpg", "hopper_bad_exif.jpg",
    "exif.png", "exif-dpi-zerodivision.jpg", "broken_exif_dpi.jpg", "truncated_exif_dpi.jpg", "flower2.jpg",
    "1_trns.png", "l_trns.png", "p_16.png", "p_trns_single.png", "palette_sepia.png", "transparent.png",
    "transparent.webp", "apng_delay.png", "apng_single_frame.png", "icc_profile.png", "icc_profile_big.jpg",
    "jpeg_ff00_header.jpg", "frozenpond.mpo", "pil_sample_rgb.jpg", "rgb.jpg", "test_combine_caron_la.png",
    "tiff_16bit_RGB_target.png", "truncated_app14.jpg", "xmp_tags_orientation.png",
    "xmp_test.jpg", "icc-after-SOF.jpg",
}  # fmt: skip
REFUSED = {
    "broken.png", "chi.gif", "decompression_bomb.gif", "decompression_bomb_extents.gif", "dispose_bgnd.gif",
    "hopper.gif", "hopper.tif", "tiff_16bit_RGB.tiff", "transparent.gif", "truncated_jpeg.jpg", "ultrahdr.jpg",
    "README.md", "truncated_end_chunk.png", "broken_data_stream.png",
}  # fmt: skip


@posix
@pytest.mark.imagenet
def test_odd_images_decode_or_end_in_one_line(decode):
    outcomes = {Path(name).name: code for name, (code, _) in decode(*sorted(ODD.iterdir())).items()}
    print(f"{len(outcomes)} files, {sum(code == 0 for code in outcomes.values())} decoded")
    assert {name for name, code in outcomes.items() if code == 0} == DECODED & set(outcomes)
    assert {name for name, code in outcomes.items() if code == 3} == REFUSED & set(outcomes)
    assert set(outcomes.values()) == {0, 3}


def mean_difference(first, second):
    return np.abs(first.astype(int) - second.astype(int)).mean()


@pytest.mark.imagenet
def test_orientations_show_the_same_picture():
    upright = load_photo(ODD / "hopper.jpg", (128, 128)).pixels
    for orientation in (2, 3, 4, 6, 7):
        path = ODD / f"hopper_orientation_{orientation}.jpg"
        shown = load_photo(path, (128, 128)).pixels
        assert mean_difference(shown, upright) < 8, path.name
        stored = np.asarray(Image.open(path).convert("RGB"))
        assert mean_difference(stored, upright) > 20, path.name


@pytest.mark.imagenet
def test_transparency_and_palettes_as_a_viewer_shows_them():
    """A viewer lays what is transparent over its page, here a white one: worked out from the stored samples."""
    for name in ("transparent.png", "transparent.webp", "1_trns.png", "l_trns.png", "p_trns_single.png", "p_16.png"):
        with Image.open(ODD / name) as image:
            layer = np.asarray(image.convert("RGBA"), np.float64)
        opacity = layer[..., 3:] / 255
        wanted = layer[..., :3] * opacity + 255 * (1 - opacity)
        np.testing.assert_allclose(load_photo(ODD / name, None).pixels, wanted, atol=1.01)
