"""Image files built byte by byte: headers that promise much, and parts that Pillow would not write."""

import struct
import zlib


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(height, width, *chunks, depth=8, colour=2, crossed=0):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, crossed))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def bitmap(height, width):
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def webp(height, width):
    size = struct.pack("<I", (width - 1) & 0xFFFFFF)[:3] + struct.pack("<I", (height - 1) & 0xFFFFFF)[:3]
    body = b"WEBPVP8X" + struct.pack("<IB3x", 10, 0) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(height, width):
    frame = struct.pack(">BHHBBBBBBBBBB", 8, height, width, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def zeros(height, width, channels=3):
    """The pixels of a PNG: a few kilobytes for hundreds of megabytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width * channels)
    return chunk(b"IDAT", b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


def segment(marker, body):
    """A segment of a JPEG: its marker's second byte, its length, what it holds."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def bitmap_runs(height, width, data, bits=8):
    """A BMP whose pixels are run-length coded."""
    palette = bytes(4 << bits)
    start = 54 + len(palette)
    sizes = struct.pack("<IHHIIiiHH", start + len(data), 0, 0, start, 40, width, height, 1, bits)
    return b"BM" + sizes + struct.pack("<IIiiII", 1 if bits == 8 else 2, len(data), 0, 0, 0, 0) + palette + data


def with_segments(jpeg_bytes, *segments):
    """Put segments before those that a JPEG has."""
    return b"".join((jpeg_bytes[:2], *segments, jpeg_bytes[2:]))


def with_scans(progressive, scans):
    """Repeat the last scan of a progressive JPEG until it has so many."""
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    return progressive[:-2] + last * (scans - progressive.count(b"\xff\xda")) + progressive[-2:]


def filtered_rows(side, channels, depth, kind):
    """The pixels of a square PNG, each row 0 after one of PNG's five filters."""
    packer = zlib.compressobj(1)
    row = bytes([kind]) + bytes(side * channels * depth // 8)
    return chunk(b"IDAT", b"".join(packer.compress(row) for _ in range(side)) + packer.flush())


def crossed_rows(side, pixel_bytes):
    """The pixels of a square PNG in the seven passes of Adam7 (PNG 1.2, 2.6), each row 0 after the Paeth filter."""
    packer = zlib.compressobj(1)
    parts = []
    for left, top, across, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
    ):  # fmt: skip
        width, height = -((left - side) // across), -((top - side) // down)
        row = b"\4" + bytes(width * pixel_bytes)
        parts += [packer.compress(row) for _ in range(height)]
    return chunk(b"IDAT", b"".join(parts) + packer.flush())
