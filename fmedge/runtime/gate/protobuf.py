"""Reading protobuf's wire format in place: fields of a message as numbers and spans of bytes, nothing copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fmedge.errors import LimitExceeded
from fmedge.runtime.gate.bounds import MAX_NAME, damaged, forbidden

VARINT, FIXED64, SPAN, FIXED32 = 0, 1, 2, 5
"""Wire types of https://protobuf.dev/programming-guides/encoding. 3 and 4, groups, are used by no schema of ours."""

MAX_FIELDS = 1 << 19
"""Fields in a file: full-depth VGG16 has about 1,000, a network of 1,500 operators about 60,000."""

_SIGN = 1 << 63
_WIDTH = 1 << 64
_LONGEST_VARINT = 10


_NOTHING: Mapping[int, int] = {}
_NO_REASONS: Mapping[int, str] = {}


class Message(NamedTuple):
    """What may stand in a message.

    Attributes:
        name: Its name, for errors.
        once: Wire type per field that stands there at most once. Twice would be refused: protobuf takes the last
            number, but merges messages, and no two readers should see two models in one file.
        many: Wire type per repeated field.
        packed: Repeated numbers, which may also stand in one span.
        refused: Fields that no model of ours has, in words.
    """

    name: str
    once: Mapping[int, int]
    many: Mapping[int, int] = _NOTHING
    packed: frozenset[int] = frozenset()
    refused: Mapping[int, str] = _NO_REASONS


Fields = dict[int, list[int]]
"""Values per field number. A varint is its value; every other one is two numbers: where it starts and ends."""


class Reader:
    """Reads messages of one file; counts the fields it met.

    Attributes:
        data: The file's content.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._met = 0

    def read(self, message: Message, start: int, end: int) -> Fields:
        """The fields of the message in ``data[start:end]``.

        Raises:
            ArtifactError: It is malformed, or holds a field that is unknown or refused.
            LimitExceeded: The file holds too many fields.
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
                raise damaged(f"field {number} stands in {message.name} twice")
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
            raise LimitExceeded(f"more than {MAX_FIELDS:,} fields. Allowed: {MAX_FIELDS:,}.")
        return found

    def _unpack(self, wire: int, start: int, stop: int, values: list[int]) -> None:
        """Append the numbers of a packed field as if each stood alone."""
        step = {FIXED32: 4, FIXED64: 8}.get(wire)
        self._met += (stop - start) // (step or 1)
        if self._met > MAX_FIELDS:
            raise LimitExceeded(f"more than {MAX_FIELDS:,} fields. Allowed: {MAX_FIELDS:,}.")
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
        """The signed 64-bit number at ``start``, and where it ends."""
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
        """A field that is a name; empty where it is missing."""
        if number not in fields:
            return ""
        return self.name(*fields[number])

    def name(self, start: int, end: int) -> str:
        """The name in ``data[start:end]``."""
        if end - start > MAX_NAME:
            raise damaged(f"a name of {end - start:,} letters")
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError as error:
            raise damaged("a name that is no text") from error


def spans(fields: Fields, number: int) -> list[tuple[int, int]]:
    """Starts and ends of the values of a repeated field that are no varints."""
    flat = fields.get(number, [])
    return list(zip(flat[::2], flat[1::2], strict=True))


def _require_packed(message: Message, number: int, wire: int) -> None:
    """Check a field of unexpected wire type: right only for repeated numbers in one span."""
    if number in message.refused:
        raise forbidden(message.refused[number], "models that fmedge exports")
    if not (wire == SPAN and number in message.packed):
        raise damaged(f"{message.name} has no field {number} of wire type {wire}")
