"""Reading flatbuffers in place: tables and vectors, every offset checked before it is followed, nothing copied."""

from __future__ import annotations

import struct

from fmedge.errors import LimitExceeded
from fmedge.runtime.gate.bounds import MAX_NAME, damaged

_U16, _U32, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")
MAX_READ = 1 << 20
"""Numbers, tables and names that are read of a file, wherever they are: many tables may point to one place, so the size
of the file bounds nothing. The largest model that passes has 10,000 operators and 30,000 tensors, of about 20 each."""

_LETTERS = 64
"""Letters of a name that are read as fast as a number."""

_WIDTHS = {"b": 1, "B": 1, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}


def root(data: bytes, identifier: bytes) -> Table:
    """The table a file begins with.

    Args:
        data: The file's content.
        identifier: The four letters of its format.

    Raises:
        ArtifactError: It is of another format, or damaged.
    """
    if data[4:8] != identifier:
        raise damaged(f"it does not say {identifier.decode()} at its fifth byte")
    return Table(data, _U32.unpack_from(data, 0)[0], [MAX_READ])


class Table:
    """A table of a file; fields are known by their number in the schema, missing ones have their default.

    Every method raises ArtifactError where the file is damaged, and LimitExceeded where too much was read in all.
    """

    __slots__ = ("_data", "_fields", "_left", "_position", "_size")

    def __init__(self, data: bytes, position: int, left: list[int]) -> None:
        end = len(data)
        if not 0 <= position <= end - 4:
            raise damaged("a table lies outside the file")
        fields = position - _I32.unpack_from(data, position)[0]
        if not 0 <= fields <= end - 4:
            raise damaged("a table's list of fields lies outside the file")
        length, size = _U16.unpack_from(data, fields)[0], _U16.unpack_from(data, fields + 2)[0]
        if length < 4 or length % 2 or fields + length > end or size < 4 or position + size > end:
            raise damaged("a table reaches beyond the file")
        self._data = data
        self._left = left  # how much may still be read: one number that all tables of the file share
        self._position = position
        self._size = size
        self._fields: tuple[int, ...] = struct.unpack_from(f"<{length // 2 - 2}H", data, fields + 4)

    def _find(self, field: int, width: int) -> int | None:
        """Where a field is, or None."""
        offset = self._fields[field] if field < len(self._fields) else 0
        if offset == 0:
            return None
        if offset < 4 or offset + width > self._size:
            raise damaged("a field lies outside its table")
        return self._position + offset

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A field that is a number; ``kind`` is its letter in the struct module."""
        position = self._find(field, _WIDTHS[kind])
        return default if position is None else struct.unpack_from(f"<{kind}", self._data, position)[0]

    def _follow(self, field: int) -> int | None:
        position = self._find(field, 4)
        return None if position is None else position + _U32.unpack_from(self._data, position)[0]

    def table(self, field: int) -> Table | None:
        """A field that is a table."""
        position = self._follow(field)
        return None if position is None else Table(self._data, position, self._left)

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """A field that is a vector: where its first value is, and how many of ``width`` bytes there are."""
        position = self._follow(field)
        if position is None:
            return 0, 0
        if position + 4 > len(self._data):
            raise damaged("a vector lies outside the file")
        count: int = _U32.unpack_from(self._data, position)[0]
        if position + 4 + count * width > len(self._data):
            raise damaged("a vector reaches beyond the file")
        return position + 4, count

    def _count(self, values: int) -> None:
        self._left[0] -= values
        if self._left[0] < 0:
            raise LimitExceeded(f"more than {MAX_READ:,} numbers, tables and names. Allowed: {MAX_READ:,}.")

    def numbers(self, field: int, kind: str, most: int) -> tuple[int, ...]:
        """A field that is a vector of at most so many numbers.

        Raises:
            LimitExceeded: There are more.
        """
        start, count = self.vector(field, _WIDTHS[kind])
        if count > most:
            raise LimitExceeded(f"a list of {count:,} numbers. Allowed: {most:,}.")
        self._count(count)
        return struct.unpack_from(f"<{count}{kind}", self._data, start)

    def tables(self, field: int, most: int) -> list[Table]:
        """A field that is a vector of at most so many tables.

        Raises:
            LimitExceeded: There are more.
        """
        start, count = self.vector(field, 4)
        if count > most:
            raise LimitExceeded(f"a list of {count:,} tables. Allowed: {most:,}.")
        self._count(count)
        data = self._data
        places = range(start, start + 4 * count, 4)
        return [Table(data, place + _U32.unpack_from(data, place)[0], self._left) for place in places]

    def text(self, field: int) -> str:
        """A field that is a name; empty where it is missing."""
        start, count = self.vector(field, 1)
        if count > MAX_NAME:
            raise damaged(f"a name of {count:,} letters")
        self._count(1 + count // _LETTERS)
        try:
            return self._data[start : start + count].decode()
        except UnicodeDecodeError as error:
            raise damaged("a name that is no text") from error
