"""The configuration in a Keras model's file, read without Keras.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``; an ``.h5`` file holds the same two things as an
attribute and as groups.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import h5py

from fmedge.errors import LimitExceeded, WeightsError
from fmedge.h5_weights import MAX_WEIGHTS_BYTES, require_bounded, require_inside
from fmedge.keras_input import Json
from fmedge.records import short_integer

MAX_CONFIG_BYTES = 1 << 23
"""Keras' own largest, NASNetLarge's, has 1.2 MB; read, JSON may take 30 times its length."""

MOST_PARTS = 30_000
"""Objects that a configuration describes: a layer is about six (itself, its type, its initializers)."""

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS: Mapping[str, int] = {"metadata.json": 1 << 16, _CONFIG: MAX_CONFIG_BYTES, _WEIGHTS: MAX_WEIGHTS_BYTES}
"""What a ``.keras`` file holds, and how large it may be. No layer that is let through has assets beside these."""

_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP64_BYTES = 20
"""The end of a zip file and, before it, what points to a longer one (APPNOTE.TXT, 4.3.15 and 4.3.16)."""

_MOST_LISTED_BYTES = 1 << 12
"""Of the list of members: 46 and the name, and what some writers add, for each of three."""

UNPACKED_FREELY, UNPACKED_TIMES = 64 << 20, 16
"""Bytes that may become of any file, and how many for each of its own: float32 weights pack to nine tenths."""

MOST_LINKS = 1 << 16
"""Entries of an HDF5 file: about ten belong to a layer."""

_LONGEST_NAME = 1 << 10
"""Letters of the path of an entry, as in a model file."""

_MOST_ATTRIBUTES = 256
"""Of one group or array: Keras writes up to four, and splits lists of names into parts of 64 KiB."""

DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile, h5py, json and Keras raise on damaged files."""


def read_config(path: Path) -> tuple[Json, int]:
    """The configuration in a ``.keras`` or ``.h5`` file, after a look through the weights in it.

    Returns:
        The configuration, and the bytes of all arrays.

    Raises:
        WeightsError: It is damaged, holds none, points out of itself, or its name tells no form.
        LimitExceeded: It holds too much, or unpacks to too much.
    """
    with refusing_damage(path):
        return _config_of(path)


@contextlib.contextmanager
def refusing_damage(path: Path) -> Generator[None]:
    """Turn what reading a damaged file raises into one line.

    Raises:
        WeightsError: The block raised such an error.
    """
    try:
        yield
    except DAMAGE as error:
        raise WeightsError(f"'{path}' is not a readable Keras model. Allowed: a whole .keras or .h5 model.") from error


def _config_of(path: Path) -> tuple[Json, int]:
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise WeightsError(f"Cannot tell the form of '{path}'. Allowed: a Keras model named .keras or .h5.")
    if path.suffix == ".keras":
        with path.open("rb") as stream:
            _require_plain_zip(path, stream)
            with zipfile.ZipFile(stream) as archive:
                _require_members(path, archive)
                size = require_plain_hdf5(path, io.BytesIO(archive.read(_WEIGHTS)))
                return _parse(path, archive.read(_CONFIG)), size
    with path.open("rb") as stream:
        size = require_plain_hdf5(path, stream)
    with h5py.File(path, "r", locking=False) as file:
        config: Any = file.attrs.get("model_config")
    if config is None:
        raise WeightsError(f"'{path}' holds weights and no model. Give a whole model, or name it with --weights.")
    return _parse(path, config), size


def _parse(path: Path, text: str | bytes) -> Json:
    """A configuration out of its text.

    Raises:
        LimitExceeded: It is longer, or has more parts, than that of any network.
        ValueError: It is no JSON, or holds an integer that nothing can be sized by.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise LimitExceeded(f"The configuration of '{path}' has {len(text):,} bytes. Allowed: {MAX_CONFIG_BYTES:,}.")
    config = json.loads(text, parse_int=short_integer)
    count, stack = 0, [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            count += "class_name" in part
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
    if count > MOST_PARTS:
        raise LimitExceeded(f"The configuration of '{path}' has {count:,} parts. Allowed: {MOST_PARTS:,}.")
    return config


def _require_plain_zip(path: Path, stream: IO[bytes]) -> None:
    """Check that the list of an archive's members, which zipfile reads whole, is a short one."""
    size = path.stat().st_size
    stream.seek(max(0, size - _ZIP_END.size - _ZIP64_BYTES))
    tail = stream.read()
    magic, *_, count, length, _, comment = _ZIP_END.unpack(tail[-_ZIP_END.size :].rjust(_ZIP_END.size, b"\0"))
    if magic != b"PK\5\6" or comment or tail[: -_ZIP_END.size].startswith(b"PK\6\7"):
        raise WeightsError(
            f"'{path}' is not a readable Keras model: its list of members is odd. Save it with model.save."
        )
    if count > len(_MEMBERS) or length > _MOST_LISTED_BYTES:
        raise WeightsError(f"'{path}' holds {count:,} files. Allowed: {', '.join(_MEMBERS)}. Save it with model.save.")


def _require_members(path: Path, archive: zipfile.ZipFile) -> None:
    """Check that an archive holds what Keras writes and nothing else: Keras would unpack all of it to a folder."""
    names, size = archive.namelist(), path.stat().st_size
    for member in archive.infolist():
        name = member.filename
        if name not in _MEMBERS or names.count(name) > 1:
            raise WeightsError(
                f"'{path}' holds '{name[:40]}'. Allowed: {', '.join(_MEMBERS)}, once each. Save it with model.save."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(f"'{name}' in '{path}' is packed in an odd way. Save it with model.save.")
        if member.file_size > _MEMBERS[name]:
            raise LimitExceeded(f"'{name}' in '{path}' has {member.file_size:,} bytes. Allowed: {_MEMBERS[name]:,}.")
        if member.file_size > _allowed(min(member.compress_size, size)):
            raise LimitExceeded(f"'{name}' in '{path}' unpacks to {member.file_size:,} bytes. Save it with model.save.")


def _allowed(stored: int) -> int:
    """Bytes that may become of those on the disk."""
    return UNPACKED_FREELY + UNPACKED_TIMES * stored


def require_plain_hdf5(path: Path, stream: IO[bytes]) -> int:
    """Look through a file of weights before anything else reads it.

    Args:
        path: Its name, or of the file that it is in.
        stream: Its content.

    Returns:
        Bytes of its arrays.

    Raises:
        WeightsError: It holds links that leave it, arrays that lie elsewhere or unpack to more than they are, texts
            that are shared by many names.
        LimitExceeded: It holds too much.
    """
    total = 0
    with h5py.File(stream, "r") as file:
        links: dict[str, object] = {}

        def keep(name: str, link: object) -> bool | None:  # an error raised in here would come out garbled
            links[name] = link
            return len(links) > MOST_LINKS or len(name) > _LONGEST_NAME or None

        if file.visititems_links(keep):
            raise LimitExceeded(f"'{path}' holds more than {MOST_LINKS:,} entries, or very long names. Save it anew.")
        texts = _count_texts(path, file)
        for name, link in links.items():
            if not isinstance(link, h5py.HardLink):
                raise WeightsError(f"'{path}' holds a link, '{name}', not data. Not followed.")
            member = file[name]
            texts += _count_texts(path, member)
            if isinstance(member, h5py.Dataset):
                require_inside(member)
                total += member.nbytes
                if total > MAX_WEIGHTS_BYTES:
                    raise LimitExceeded(f"'{path}' declares more than {MAX_WEIGHTS_BYTES:,} bytes of weights.")
                require_bounded(member)
        if texts and texts * _longest_text(stream) > _MOST_TEXT_BYTES:
            raise WeightsError(f"'{path}' holds {texts:,} texts, long ones among them. Save it again with model.save.")
    stored = path.stat().st_size
    if total > _allowed(stored):
        raise LimitExceeded(f"'{path}' declares {total:,} bytes of weights in a file of {stored:,}. Save it anew.")
    return total


def _count_texts(path: Path, member: Any) -> int:  # noqa: ANN401 - a group, an array, a type
    """Check what is written beside a group or array, some of which Keras reads.

    Returns:
        How many texts of any length stand there in lists. Each may be the same long one: they are read one by one.
    """
    attributes, texts = member.attrs, 0
    if len(attributes) > _MOST_ATTRIBUTES:
        raise LimitExceeded(f"'{path}' holds {len(attributes):,} attributes at one place. Allowed: {_MOST_ATTRIBUTES}.")
    for name in attributes:
        found = attributes.get_id(name)
        count = prod(found.shape or ())
        if count * found.dtype.itemsize > MAX_CONFIG_BYTES:
            raise WeightsError(f"'{path}' holds a list of long texts, '{name[:40]}'. Save it again with model.save.")
        texts += count if count > 1 and found.dtype.hasobject else 0
    return texts


def _longest_text(stream: IO[bytes]) -> int:
    """Bytes of the longest text that lists may hold: those of any length lie in HDF5's global heaps.

    A heap begins with ``GCOL``, its version and size, and holds objects: number, references, size, content (HDF5 File
    Format Specification 3.0, III.E).
    """
    longest, place, before = 0, 0, b""
    stream.seek(0)
    while chunk := stream.read(_CHUNK):
        window = before + chunk
        start = window.find(_HEAP)
        while start >= 0:
            found = place - len(before) + start
            longest = max(longest, *_texts_of_heap(stream, found), 0)
            start = window.find(_HEAP, start + 1)
        place += len(chunk)
        before = window[1 - len(_HEAP) :]
        stream.seek(place)
    return longest


def _texts_of_heap(stream: IO[bytes], place: int) -> Iterator[int]:
    stream.seek(place)
    head = stream.read(16)
    end = place + int.from_bytes(head[8:], "little")
    place += len(head)
    while place + 16 <= end:
        stream.seek(place)
        entry = stream.read(16)
        size = int.from_bytes(entry[8:], "little")
        if len(entry) < 16 or not entry[:2].strip(b"\0"):  # the rest is free
            return
        yield size
        place += 16 + -(-size // 8) * 8


_HEAP, _CHUNK = b"GCOL", 1 << 20

_MOST_TEXT_BYTES = 1 << 30
"""Bytes of texts in lists if each were as long as the longest. ResNet152 has 1,400 names in lists, and a
configuration of 0.4 MB, which is a text in such a heap, too."""
