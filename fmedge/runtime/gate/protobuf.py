"""Read protobuf's wire format in place: fields of a message as numbers and spans of bytes; nothing is copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fmedge.errors import LimitExceeded
from fmedge.runtime.gate.bounds import MAX_NAME, damaged, forbidden

VARINT, FIXED64, SPAN, FIXED32 = 0, 1, 2, 5
"""Wire types of https://protobuf.dev/programming-guides/encoding. None of our schemas uses 3 and 4, groups."""

MAX_FIELDS = 1 << 19
"""Most fields in a file: full-depth VGG16 has about 1,000, a network of 1,500 operators about 60,000."""

_SIGN = 1 << 63
_WIDTH = 1 << 64
_LONGEST_VARINT = 10


_NOTHING: Mapping[int, int] = {}
_NO_REASONS: Mapping[int, str] = {}


class Message(NamedTuple):
    """The fields that a message may have.

    Attributes:
        name: Its name, for error messages.
        once: Wire types of the fields that may occur once. A second one is refused: protobuf takes the last number but
            merges messages, and two readers must not see two different models in one file.
        many: Wire types of the repeated fields.
        packed: Repeated numbers, which may also be packed into one span.
        refused: Fields that fmedge does not accept, with a description.
    """

    name: str
    once: Mapping[int, int]
    many: Mapping[int, int] = _NOTHING
    packed: frozenset[int] = frozenset()
    refused: Mapping[int, str] = _NO_REASONS


Fields = dict[int, list[int]]
"""Values by field number. A varint is its value; any other value is two numbers: its start and its end."""


class Reader:
    """A reader of the messages in one file, which counts their fields.

    Attributes:
        data: The file's content.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._met = 0

    def read(self, message: Message, start: int, end: int) -> Fields:
        """Read the fields of the message in ``data[start:end]``.

        Raises:
            ArtifactError: It is malformed, or has a field that is unknown or refused.
            LimitExceeded: The file has too many fields.
        """
        data, once, many = self.data, message.once, message.many
        found: Fields = {}
        while start < end:
            tag = data[start]
            start += 1
            if tag >= 0x80:
                tag, start = self.varint(start - 1, end)
            number, wire = tag >> 3, tag & 7
            if wire != once.get(number, many.get(number)):
                _require_packed(message, number, wire)
            self._met += 1
            values = found.setdefault(number, [])
            if values and number in once:
                raise damaged(f"field {number} occurs twice in {message.name}")
            if wire == VARINT:
                value, start = self.varint(start, end)
                values.append(value)
                continue
            if wire == SPAN:
                length, start = self.varint(start, end)
                stop = start + length
            else:
                stop = start + (8 if wire == FIXED64 else 4)
            if not start <= stop <= end:
                raise damaged(f"field {number} of {message.name} reaches beyond its end")
            if number in message.packed and wire == SPAN:
                self._unpack(many[number], start, stop, values)
            else:
                values += (start, stop)
            start = stop
        if self._met > MAX_FIELDS:
            raise LimitExceeded(f"has more than {MAX_FIELDS:,} fields. Allowed: {MAX_FIELDS:,}.")
        return found

    def _unpack(self, wire: int, start: int, stop: int, values: list[int]) -> None:
        """Append the numbers of a packed field as if each were a field of its own."""
        step = {FIXED32: 4, FIXED64: 8}.get(wire)
        self._met += (stop - start) // (step or 1)
        if self._met > MAX_FIELDS:
            raise LimitExceeded(f"has more than {MAX_FIELDS:,} fields. Allowed: {MAX_FIELDS:,}.")
        if step is not None and (stop - start) % step:
            raise damaged("a packed field ends in the middle of a number")
        while start < stop:
            if step is None:
                value, start = self.varint(start, stop)
                values.append(value)
            else:
                values += (start, start + step)
                start += step

    def varint(self, start: int, end: int) -> tuple[int, int]:
        """Read the signed 64-bit number at ``start``; return it and its end."""
        value = shift = 0
        for position in range(start, min(end, start + _LONGEST_VARINT)):
            byte = self.data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                value %= _WIDTH
                return (value - _WIDTH if value & _SIGN else value), position + 1
            shift += 7
        raise damaged("a number does not end")

    def text(self, fields: Fields, number: int) -> str:
        """Read a field that is a name; empty where it is missing."""
        if number not in fields:
            return ""
        return self.name(*fields[number])

    def name(self, start: int, end: int) -> str:
        """Read the name in ``data[start:end]``."""
        if end - start > MAX_NAME:
            raise damaged(f"a name of {end - start:,} letters")
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError as error:
            raise damaged("a name that is not text") from error


def spans(fields: Fields, number: int) -> list[tuple[int, int]]:
    """Return the starts and ends of the values of a repeated field that is not a varint."""
    flat = fields.get(number, [])
    return list(zip(flat[::2], flat[1::2], strict=True))


def _require_packed(message: Message, number: int, wire: int) -> None:
    """Check a field of an unexpected wire type: only repeated numbers in one span are valid."""
    if number in message.refused:
        raise forbidden(message.refused[number], "models that fmedge exports")
    if not (wire == SPAN and number in message.packed):
        raise damaged(f"{message.name} has no field {number} of wire type {wire}")
