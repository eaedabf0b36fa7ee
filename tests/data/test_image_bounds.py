"""Limits on what an image file holds besides pixels: beyond them one line and exit 7, up to them the image."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from fmedge.data.image_bounds import (
    DEFAULT_PIXELS,
    MAX_DATA_CHUNKS,
    MAX_EXIF_BYTES,
    MAX_PARTS,
    MAX_PIXELS,
    MAX_SCANS,
    count_scans,
    decoding_bytes,
)
from fmedge.data.images import load_photo
from fmedge.errors import LimitExceeded
from fmedge.system import memory
from support.decoding import decoded, posix
from support.image_files import (
    bitmap_runs,
    chunk,
    crossed_rows,
    filtered_rows,
    png,
    segment,
    webp,
    with_scans,
    with_segments,
    zeros,
)
from support.messages import says

RNG = np.random.default_rng(18)
SIDE = 9459
"""Its square is just below the limit on pixels."""

FULL = 65_533
"""Most bytes that a segment of a JPEG holds."""


def picture(height=48, width=64):
    return Image.fromarray(RNG.integers(0, 256, (height // 8, width // 8, 3), np.uint8)).resize((width, height))


def saved(image, kind="JPEG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(size):
    return segment(0xE1, (b"Exif\0\0" + bytes(size))[:FULL])


def many_segments(marker, start, count):
    return with_segments(saved(picture()), *[segment(marker, start.ljust(FULL, b"\0"))] * count)


def many_chunks(kind, body, count):
    return png(8, 8, *[chunk(kind, body)] * count, zeros(8, 8))


def packed(size, value=b"\0"):
    return zlib.compress(value * size, 9)


def with_webp_chunk(kind, size):
    """Return a WebP with another chunk at its end."""
    start = saved(picture(), "WEBP", exif=Image.Exif())
    body = start[12:] + kind + struct.pack("<I", size) + bytes(size)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


DIRECTORY = b"MM\0*\0\0\0\x08" + struct.pack(">H", 65_535)
"""The start of an EXIF block that declares as many entries as possible."""

ENTRIES = b"".join(struct.pack(">HHII", tag, 7, 65_000, 8) for tag in range(5400))
"""Entries whose values are all the same 65,000 bytes."""

PHOTOSHOP = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0" * 5459

BEYOND = {
    "1600 segments of EXIF": (lambda: many_segments(0xE1, b"Exif\0\0", 1600), "bytes of EXIF"),
    "EXIF in a PNG": (lambda: many_chunks(b"eXIf", bytes(MAX_EXIF_BYTES + 1), 1), "bytes of EXIF"),
    "EXIF in a WebP": (lambda: with_webp_chunk(b"EXIF", MAX_EXIF_BYTES + 2), "bytes of EXIF"),
    "full segments": (lambda: many_segments(0xE5, b"", MAX_PARTS + 1), "parts of metadata"),
    "empty segments": (lambda: with_segments(saved(picture()), b"\xff\xe5\0\2" * 50_000), "parts of metadata"),
    "comments": (lambda: with_segments(saved(picture()), segment(0xFE, b"") * 600), "parts of metadata"),
    "Huffman tables": (lambda: with_segments(saved(picture()), segment(0xC4, b"") * 600), "parts of metadata"),
    "junk before a segment": (
        lambda: with_segments(saved(picture()), segment(0xFE, b"") + bytes(1 << 20)),
        "belong to no segment",
    ),
    "padding before a segment": (lambda: with_segments(saved(picture()), b"\xff" * (1 << 20)), "belong to no segment"),
    "scans": (lambda: with_scans(saved(picture(), progressive=True), MAX_SCANS + 1), "scans"),
    "500 scans": (lambda: with_scans(saved(picture(), progressive=True), 500), "scans"),
    "one huge chunk": (lambda: many_chunks(b"prVt", bytes(40 << 20), 1), "bytes of metadata"),
    "chunks of text": (lambda: many_chunks(b"tEXt", b"a\0b", 1000), "parts of metadata"),
    "packed texts": (lambda: many_chunks(b"zTXt", b"\0\0" + packed(1 << 20), 1000), "parts of metadata"),
    "colour profiles": (lambda: many_chunks(b"iCCP", b"a\0\0" + packed(1 << 20), 1000), "parts of metadata"),
    "empty chunks of pixels": (lambda: many_chunks(b"IDAT", b"", MAX_DATA_CHUNKS + 1), "chunks of pixel data"),
    "chunks after the pixels": (
        lambda: png(8, 8, zeros(8, 8), *[chunk(b"tEXt", b"a\0b")] * 1000),
        "parts of metadata",
    ),
    "runs of a BMP": (lambda: bitmap_runs(4000, 4000, b"\1\1\0\0" * 4000), "run-length"),
    "runs of half bytes": (lambda: bitmap_runs(4000, 4000, b"\1\1\0\0" * 4000, 4), "run-length"),
    "runs of no pixels": (lambda: bitmap_runs(60, 60, b"\1\1" * 8_100_000), "run-length"),
}
"""Files that kept Pillow busy for seconds to minutes, or took gigabytes, and the expected part of the message."""


@posix
def test_beyond_the_bounds(cases, tmp_path):
    for number, (made, _) in enumerate(BEYOND.values()):
        (tmp_path / str(number)).write_bytes(made())
    outcomes = decoded(*(tmp_path / str(number) for number in range(len(BEYOND))))
    cases("images", len(BEYOND))
    for (what, (_, words)), (code, said) in zip(BEYOND.items(), outcomes.values(), strict=True):
        assert (code, words in said) == (7, True), (what, said)


WITHIN = {
    "segments of EXIF": lambda: many_segments(0xE1, b"Exif\0\0", MAX_EXIF_BYTES // (FULL + 2)),
    "segments of Photoshop": lambda: with_segments(saved(picture()), *[segment(0xED, PHOTOSHOP[:FULL])] * 500),
    "a directory of overlapping values": lambda: with_segments(
        saved(picture()), segment(0xE1, (b"Exif\0\0" + DIRECTORY + ENTRIES)[:FULL])
    ),
    "the same in an index of pictures": lambda: with_segments(
        saved(picture()), segment(0xE2, (b"MPF\0" + DIRECTORY + ENTRIES)[:FULL])
    ),
    "a long directory": lambda: with_segments(
        saved(picture()), segment(0xE1, (b"Exif\0\0" + DIRECTORY + ENTRIES)[:FULL]), *[exif(FULL)] * 60
    ),
    "packed texts": lambda: many_chunks(b"zTXt", b"\0\0" + packed(1 << 20), 500),
    "texts of no language": lambda: many_chunks(b"iTXt", b"a\0\1\0\0\0" + packed(1 << 20, b"\xff"), 500),
    "colour profiles": lambda: many_chunks(b"iCCP", b"a\0\0" + packed(1 << 20), 500),
    "scans": lambda: with_scans(saved(picture(), progressive=True), MAX_SCANS),
    "steps of a BMP": lambda: bitmap_runs(60, 60, b"\1\1" * 2_000_000),
}
"""The worst files that are accepted."""


@posix
@pytest.mark.slow
def test_within_the_bounds(cases, tmp_path):
    for number, made in enumerate(WITHIN.values()):
        (tmp_path / str(number)).write_bytes(made())
    outcomes = decoded(*(tmp_path / str(number) for number in range(len(WITHIN))))
    cases("images", len(WITHIN))
    # 3: the last file has no pixels, and the index of pictures does not say how many there are
    assert [code in {0, 3} for code, _ in outcomes.values()] == [True] * len(WITHIN), outcomes


LARGEST = {
    "a progressive JPEG": lambda: with_scans(
        saved(Image.new("RGB", (SIDE, SIDE), (9, 90, 200)), progressive=True, subsampling=0), MAX_SCANS
    ),
    "a JPEG of four colours": lambda: saved(Image.new("CMYK", (SIDE, SIDE), (9, 90, 200, 3))),
    "16 bits and alpha": lambda: png(SIDE, SIDE, filtered_rows(SIDE, 4, 16, 4), depth=16, colour=6),
    "16 bits of grey": lambda: png(SIDE, SIDE, filtered_rows(SIDE, 1, 16, 3), depth=16, colour=0),
    "16 bits with a key": lambda: png(
        SIDE, SIDE, chunk(b"tRNS", bytes(6)), filtered_rows(SIDE, 3, 16, 2), depth=16, colour=2
    ),
    "16 bits in seven passes": lambda: png(SIDE, SIDE, crossed_rows(SIDE, 8), depth=16, colour=6, crossed=1),
}


@posix
@pytest.mark.slow
@pytest.mark.parametrize("what", LARGEST)
def test_the_largest_images(tmp_path, what):
    """Each takes at most 5 s and 1 GB of address space, or gives the line that says that it needs more."""
    (tmp_path / "a").write_bytes(LARGEST[what]())
    ((code, said),) = decoded(tmp_path / "a").values()
    assert code in {0, 7}
    assert said == [SIDE, SIDE] or " of memory; " in said or "Not enough memory" in said, said


@posix
def test_animations_show_their_first_picture(tmp_path):
    frames = [Image.new("RGB", (16, 16), (value % 256, 200, 30)) for value in range(10, 2010)]
    for kind, options in (("WEBP", {"lossless": True, "quality": 0, "method": 0}), ("PNG", {"compress_level": 1})):
        frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:], **options)
        assert (load_photo(tmp_path / "a", (8, 8)).pixels == (10, 200, 30)).all()


def ordinary():
    """Return files as cameras and phones write them: each shows the same picture."""
    image = picture(240, 320)
    plain = saved(image, quality=90)
    second = saved(image.resize((80, 60)))
    depth_map = b"http://ns.adobe.com/xmp/extension/\0" + bytes(FULL - 35)
    gain_map = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description hdrgm:Version="1.0"/>'
    entries = struct.pack(">IIIHH", 0x030000, len(plain), 0, 0, 0) + struct.pack(">IIIHH", 0, len(second), 9, 0, 0)
    index = b"MPF\0MM\0*\0\0\0\x08" + struct.pack(">H", 2) + struct.pack(">HHII", 0xB001, 4, 1, 2)
    index += struct.pack(">HHII", 0xB002, 7, 32, 38) + bytes(4) + entries
    profile = [segment(0xE2, b"ICC_PROFILE\0" + bytes([n, 200]) + bytes(FULL - 14)) for n in range(1, 201)]
    return {
        "plain": plain,
        "a profile of 13 MB": with_segments(plain, *profile),
        "a depth map of 10 MB": with_segments(plain, *[segment(0xE1, depth_map)] * 160),
        "a gain map (Ultra HDR)": with_segments(plain, segment(0xE1, gain_map), segment(0xE2, index)) + second,
        "two pictures (MPO)": with_segments(plain, segment(0xE2, index)) + second,
        "a film after it": plain + b"ftyp" + b"\xff\xda\0\4ab" * 100_000,
    }


def test_what_cameras_write_is_decoded(tmp_path):
    files = ordinary()
    (tmp_path / "plain").write_bytes(files["plain"])
    wanted = load_photo(tmp_path / "plain", None).pixels
    for what, content in files.items():
        (tmp_path / "a").write_bytes(content)
        np.testing.assert_array_equal(load_photo(tmp_path / "a", None).pixels, wanted, what)


@pytest.mark.parametrize(
    ("content", "scans"),
    [
        (saved(picture()), 1),
        (saved(picture(), progressive=True), 10),
        (saved(picture().convert("L"), progressive=True), 6),
        (with_scans(saved(picture(), progressive=True), 40), 40),
        (with_scans(saved(picture(), progressive=True), 40) + b"\xff\xda\0\4ab" * 99, 40),
        (with_scans(saved(picture(200, 300), progressive=True, restart_marker_blocks=2), 12), 12),
        (saved(picture(), progressive=True)[:-30] + b"\xff", 10),
        (saved(picture(), "PNG"), 1),
        (saved(picture(), "WEBP"), 1),
        (webp(5, 5), 1),
        (b"\xff\xd8\xff", 1),
        (b"BM", 1),
    ],
)
def test_scans_are_counted(tmp_path, content, scans):
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as file:
        assert count_scans(file, tmp_path / "a") == scans


def test_scans_are_counted_across_windows(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(saved(picture(200, 300), progressive=True, quality=95))
    for window in (2, 3, 7, 64):
        monkeypatch.setattr("fmedge.data.image_bounds._WINDOW_BYTES", window)
        with (tmp_path / "a").open("rb") as file:
            assert count_scans(file, tmp_path / "a") == 10


@pytest.mark.parametrize(
    ("content", "scans", "per_pixel"),
    [
        (saved(picture()), 1, 4),
        (saved(picture().convert("L")), 1, 1),
        (saved(picture(), progressive=True, subsampling=0), 10, 4 + 6),
        (saved(picture(), progressive=True, subsampling=2), 10, 4 + 3),
        (saved(picture().convert("L"), progressive=True), 6, 1 + 2),
        (saved(picture().convert("CMYK"), progressive=True), 10, 4 + 8),
        (saved(picture(), progressive=True, subsampling=0), 1, 4 + 6),  # cut after its first scan
        (saved(picture(), "PNG"), 1, 4),
        (saved(Image.new("I;16", (64, 48)), "PNG"), 1, 2),
    ],
)
def test_memory_for_decoding(content, scans, per_pixel):
    image = Image.open(io.BytesIO(content))
    assert decoding_bytes(image, scans, len(content)) == round(48 * 64 * per_pixel)


def test_memory_is_asked_for_before_it_is_taken(tmp_path, monkeypatch):
    picture(480, 640).save(tmp_path / "a.png")
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    loaded = []
    monkeypatch.setattr(Image.Image, "load", loaded.append)
    with pytest.raises(LimitExceeded, match=r"Decoding '.*a\.png' needs about 1\.2 MB of memory; 1\.0 MB is free"):
        load_photo(tmp_path / "a.png", (8, 8))
    assert not loaded


def test_a_webp_within_the_pixels_may_need_too_much(tmp_path):
    (tmp_path / "a.webp").write_bytes(saved(Image.new("RGB", (8000, 8000)), "WEBP", method=0, quality=0))
    with pytest.raises(LimitExceeded, match=r"needs about 1\.1 GB; at most 0\.9 GB allowed"):
        load_photo(tmp_path / "a.webp", (8, 8))
    if (memory.available_bytes() or 4e9) > 2e9:
        assert load_photo(tmp_path / "a.webp", (8, 8), max_pixels=MAX_PIXELS).original_size == (8000, 8000)


def test_a_bound_that_cannot_be_raised_is_not_advised(tmp_path):
    for side, advised in ((10_000, True), (13_378, False), (65_000, False)):
        (tmp_path / "a.png").write_bytes(png(side, side))
        with (
            warnings.catch_warnings(),
            pytest.raises(LimitExceeded, check=says(f"at most {DEFAULT_PIXELS:,} pixels")) as caught,
        ):
            warnings.simplefilter("ignore")  # as in a command
            load_photo(tmp_path / "a.png", (8, 8))
        assert ("--max-pixels" in caught.value.hint) == advised, side


@pytest.mark.skipif(not hasattr(os, "truncate"), reason="no sparse files")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_files_that_are_too_large(tmp_path, kind):
    picture().save(tmp_path / "a", kind)
    os.truncate(tmp_path / "a", (512 << 20) + 1 if kind != "JPEG" else 3 * DEFAULT_PIXELS + 1)
    with pytest.raises(LimitExceeded, match=r"bytes; at most [0-9,]+ allowed"):
        load_photo(tmp_path / "a", (8, 8))
