"""Read the configuration in a Keras model's file without Keras.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``; an ``.h5`` file holds the same two things as an
attribute and as groups. Which of the two a file is shows in its first bytes, whatever its name.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import contextlib
import io
import json
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import h5py

from fmedge.errors import LimitExceeded, WeightsError
from fmedge.model.h5_weights import MAX_WEIGHTS_BYTES, require_bounded, require_inside
from fmedge.model.keras_input import Json
from fmedge.system.serde import short_integer

MAX_CONFIG_BYTES = 1 << 23
"""The largest of Keras' own models, NASNetLarge, has 1.2 MB; parsed, JSON may take 30 times its length."""

MAX_PARTS = 30_000
"""Most objects that a configuration may describe: a layer has about six (itself, its type, its initializers)."""

_METADATA, CONFIG_MEMBER, WEIGHTS_MEMBER = "metadata.json", "config.json", "model.weights.h5"
_MEMBERS: Mapping[str, int] = {_METADATA: 1 << 16, CONFIG_MEMBER: MAX_CONFIG_BYTES, WEIGHTS_MEMBER: MAX_WEIGHTS_BYTES}
"""Members of a ``.keras`` file and their largest sizes. No layer that is accepted has further assets."""

_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP64_BYTES = 20
"""The end of a zip file, and the size of what precedes it and points to a longer one (APPNOTE.TXT, 4.3.15 and
4.3.16)."""

_MAX_LISTED_BYTES = 1 << 12
"""Largest list of members: 46 bytes and the name, plus what some writers add, for each of three."""

UNPACKED_FREELY, UNPACKED_TIMES = 64 << 20, 16
"""Bytes that any file may unpack to, and how many per stored byte: float32 weights shrink only to nine tenths."""

MAX_LINKS = 1 << 16
"""Most entries of an HDF5 file: a layer has about ten."""

_LONGEST_NAME = 1 << 10
"""Most letters of the path of an entry, as in a model file."""

_MAX_TEXTS, _SHORT_BYTES = 1 << 12, 1 << 16
_MAX_TEXT_BYTES = 1 << 26
"""Most texts in a list (as many as fit into the 64 KiB of an attribute); largest collection that counts as short texts;
most bytes of all long texts, of which the model and the training configuration are two."""

_COLLECTION = b"GCOL\1\0\0\0"
"""How a collection of texts begins; its size follows."""

_MAX_ATTRIBUTES = 256
"""Most attributes of one group or array: Keras writes up to four, and splits lists of names into parts of 64 KiB."""

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


_BEGINNINGS: Mapping[bytes, str] = {b"PK\3\4": ".keras", b"\x89HDF\r\n\x1a\n": ".h5"}
"""How the two kinds of file begin (APPNOTE.TXT, 4.3.7; HDF5 File Format Specification 3.0, II.A), and the suffix that
Keras knows each by."""


@dataclass(frozen=True, slots=True)
class KerasFile:
    """A Keras model's file, as far as it can be read without Keras.

    Attributes:
        config: The configuration of the model.
        weights_bytes: Size of all arrays in bytes.
        suffix: What Keras calls such a file: ``.keras`` for a zip, ``.h5`` for HDF5.
        version: The version of Keras that wrote it; None if the file does not say.
    """

    config: Json
    weights_bytes: int
    suffix: str
    version: str | None

    @property
    def writer(self) -> str:
        """What wrote the file, in words."""
        return f"Keras {self.version}" if self.version else "an unknown version of Keras"

    @property
    def is_keras2(self) -> bool:
        """Whether a Keras before 3 wrote it; those before 2.0.3 did not say so."""
        return not self.version or int(self.version.partition(".")[0]) < 3


def read_config(path: Path) -> KerasFile:
    """Read the configuration of a Keras model, after checking the weights in its file.

    Raises:
        WeightsError: The file is damaged, is no Keras model, has no configuration, or points outside itself.
        LimitExceeded: It holds too much, or unpacks to too much.
    """
    with refusing_damage(path):
        return _file_of(path)


@contextlib.contextmanager
def refusing_damage(path: Path) -> Generator[None]:
    """Turn the errors of reading a damaged file into a one-line message.

    Raises:
        WeightsError: The block raised such an error.
    """
    try:
        yield
    except DAMAGE as error:
        raise WeightsError(f"'{path}' is not a readable Keras model. Allowed: a whole .keras or .h5 model.") from error


def _file_of(path: Path) -> KerasFile:
    with path.open("rb") as stream:
        beginning = stream.read(8)
        suffix = next((suffix for begin, suffix in _BEGINNINGS.items() if beginning.startswith(begin)), None)
        if suffix is None:
            raise WeightsError(f"'{path}' is no Keras model: it is neither HDF5 (.h5) nor a zip (.keras).")
        if suffix == ".keras":
            _require_plain_zip(path, stream)
            with zipfile.ZipFile(stream) as archive:
                _require_members(path, archive)
                size = require_plain_hdf5(path, io.BytesIO(archive.read(WEIGHTS_MEMBER)))
                about: Any = json.loads(archive.read(_METADATA)) if _METADATA in archive.namelist() else {}
                return KerasFile(
                    _parse(path, archive.read(CONFIG_MEMBER)), size, suffix, _version(about.get("keras_version"))
                )
        size = require_plain_hdf5(path, stream)
    with h5py.File(path, "r", locking=False) as file:
        config: Any = file.attrs.get("model_config")
        version = _version(file.attrs.get("keras_version"))
    if config is None:
        by = f", written by Keras {version}" if version else ""
        raise WeightsError(
            f"'{path}' holds weights and no model{by}.", hint="Save the whole model: model.save('model.keras')."
        )
    return KerasFile(_parse(path, config), size, suffix, version)


def _version(said: object) -> str | None:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return text if isinstance(text, str) and re.fullmatch(r"\d{1,3}(\.\w{1,8}){0,4}", text, re.ASCII) else None


def _parse(path: Path, text: str | bytes) -> Json:
    """Parse the text of a configuration.

    Raises:
        LimitExceeded: It is longer, or has more parts, than that of any network.
        ValueError: It is not JSON, or holds an integer too long to be any size.
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
    if count > MAX_PARTS:
        raise LimitExceeded(f"The configuration of '{path}' has {count:,} parts. Allowed: {MAX_PARTS:,}.")
    return config


def _require_plain_zip(path: Path, stream: IO[bytes]) -> None:
    """Check that the list of an archive's members, which zipfile reads whole, is short."""
    size = path.stat().st_size
    stream.seek(max(0, size - _ZIP_END.size - _ZIP64_BYTES))
    tail = stream.read()
    magic, *_, count, length, _, comment = _ZIP_END.unpack(tail[-_ZIP_END.size :].rjust(_ZIP_END.size, b"\0"))
    if magic != b"PK\5\6" or comment or tail[: -_ZIP_END.size].startswith(b"PK\6\7"):
        raise WeightsError(
            f"'{path}' is not a readable Keras model: its list of members is odd. Save it with model.save."
        )
    if count > len(_MEMBERS) or length > _MAX_LISTED_BYTES:
        raise WeightsError(f"'{path}' holds {count:,} files. Allowed: {', '.join(_MEMBERS)}. Save it with model.save.")


def _require_members(path: Path, archive: zipfile.ZipFile) -> None:
    """Check that an archive holds only what Keras writes: Keras would unpack everything to a folder."""
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
    """Return how many bytes a file of that size may unpack to."""
    return UNPACKED_FREELY + UNPACKED_TIMES * stored


def require_plain_hdf5(path: Path, stream: IO[bytes]) -> int:
    """Check a file of weights before anything else reads it.

    Args:
        path: Its name, or that of the file that contains it.
        stream: Its content.

    Returns:
        Size of its arrays in bytes.

    Raises:
        WeightsError: It holds links that lead out of it, arrays that lie elsewhere or unpack to more than their size,
            or texts that many names share.
        LimitExceeded: It holds too much.
    """
    total = 0
    with h5py.File(stream, "r") as file:
        links: dict[str, object] = {}

        def keep(name: str, link: object) -> bool | None:  # an error raised in here would come out garbled
            links[name] = link
            return len(links) > MAX_LINKS or len(name) > _LONGEST_NAME or None

        if file.visititems_links(keep):
            raise LimitExceeded(f"'{path}' holds more than {MAX_LINKS:,} entries, or very long names. Save it anew.")
        lists = _require_attributes(path, file)
        for name, link in links.items():
            if not isinstance(link, h5py.HardLink):
                raise WeightsError(f"'{path}' holds a link, '{name}', not data. Not followed.")
            member = file[name]
            lists += _require_attributes(path, member)
            if isinstance(member, h5py.Dataset):
                require_inside(member)
                total += member.nbytes
                if total > MAX_WEIGHTS_BYTES:
                    raise LimitExceeded(f"'{path}' declares more than {MAX_WEIGHTS_BYTES:,} bytes of weights.")
                require_bounded(member)
        odd = file.userblock_size or file.id.get_create_plist().get_sizes() != (8, 8)
    if lists and (odd or _long_texts(stream) > _MAX_TEXT_BYTES):
        raise WeightsError(f"'{path}' holds lists of long texts. Save it again with model.save.")
    stored = path.stat().st_size
    if total > _allowed(stored):
        raise LimitExceeded(f"'{path}' declares {total:,} bytes of weights in a file of {stored:,}. Save it anew.")
    return total


def _require_attributes(path: Path, member: Any) -> int:  # noqa: ANN401 - a group, an array, a type
    """Check the attributes of a group or array, some of which Keras reads.

    Returns:
        Number of lists of texts.
    """
    lists = 0
    attributes = member.attrs
    if len(attributes) > _MAX_ATTRIBUTES:
        raise LimitExceeded(f"'{path}' holds {len(attributes):,} attributes at one place. Allowed: {_MAX_ATTRIBUTES}.")
    for name in attributes:
        found = attributes.get_id(name)
        count, texts = prod(found.shape or ()), found.dtype.hasobject
        if count * found.dtype.itemsize > MAX_CONFIG_BYTES or (texts and count > _MAX_TEXTS):
            raise LimitExceeded(f"'{path}' holds {count:,} values in '{name[:40]}'. Save it again with model.save.")
        lists += texts and count > 1
    return lists


def _long_texts(stream: IO[bytes]) -> int:
    """Return the bytes that all long texts in a file's lists take once they are read: many entries may share one text.

    A text lies in a collection; an entry is its length, the place of the collection and a number (HDF5 File Format
    Specification 3.0, III.E and VIII). Texts in small collections are short, and no list has many entries.
    """
    with contextlib.ExitStack() as ending:
        if isinstance(stream, io.BytesIO):
            data: bytes | mmap.mmap = stream.getvalue()
        else:
            data = ending.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        total = 0
        collection = data.find(_COLLECTION)
        while collection >= 0:
            size = int.from_bytes(data[collection + 8 : collection + 16], "little")
            if size > _SHORT_BYTES:
                place = struct.pack("<Q", collection)
                entry = data.find(place)
                while entry >= 0 and total <= _MAX_TEXT_BYTES:
                    total += min(int.from_bytes(data[max(0, entry - 4) : entry], "little"), size)
                    entry = data.find(place, entry + 8)
            if total > _MAX_TEXT_BYTES:
                break
            collection = data.find(_COLLECTION, collection + len(_COLLECTION))
    return total
