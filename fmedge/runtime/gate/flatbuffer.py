"""Read flatbuffers in place: tables and vectors; every offset is checked before it is followed, nothing is copied."""

from __future__ import annotations

import struct

from fmedge.errors import LimitExceeded
from fmedge.runtime.gate.bounds import MAX_NAME, damaged

_U16, _U32, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")
MAX_READ = 1 << 20
"""Most numbers, tables and names that are read from a file. The file's size is no limit, since many tables may point to
one place. The largest model that passes has 10,000 operators and 30,000 tensors, of about 20 each."""

_LETTERS = 64
"""How many letters of a name can be read in the time of one number."""

_WIDTHS = {"b": 1, "B": 1, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}


def root(data: bytes, identifier: bytes) -> Table:
    """Return the table that a file begins with.

    Args:
        data: The file's content.
        identifier: The four letters of its format.

    Raises:
        ArtifactError: The file has another format, or is damaged.
    """
    if data[4:8] != identifier:
        raise damaged(f"no {identifier.decode()} at its fifth byte")
    return Table(data, _U32.unpack_from(data, 0)[0], [MAX_READ])


class Table:
    """A table of a file. Fields go by their number in the schema; missing ones have their default.

    Every method raises ArtifactError where the file is damaged, and LimitExceeded once too much has been read in total.
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
        """Return the position of a field, or None where it is missing."""
        offset = self._fields[field] if field < len(self._fields) else 0
        if offset == 0:
            return None
        if offset < 4 or offset + width > self._size:
            raise damaged("a field lies outside its table")
        return self._position + offset

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """Read a field that is a number; ``kind`` is its letter in the struct module."""
        position = self._find(field, _WIDTHS[kind])
        return default if position is None else struct.unpack_from(f"<{kind}", self._data, position)[0]

    def _follow(self, field: int) -> int | None:
        position = self._find(field, 4)
        return None if position is None else position + _U32.unpack_from(self._data, position)[0]

    def table(self, field: int) -> Table | None:
        """Read a field that is a table; None where it is missing."""
        position = self._follow(field)
        return None if position is None else Table(self._data, position, self._left)

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """Find a field that is a vector: the position of its first value, and how many of ``width`` bytes there are."""
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
            raise LimitExceeded(f"has more than {MAX_READ:,} numbers, tables and names. Allowed: {MAX_READ:,}.")

    def numbers(self, field: int, kind: str, most: int) -> tuple[int, ...]:
        """Read a field that is a vector of at most ``most`` numbers.

        Raises:
            LimitExceeded: There are more.
        """
        start, count = self.vector(field, _WIDTHS[kind])
        if count > most:
            raise LimitExceeded(f"has a list of {count:,} numbers. Allowed: {most:,}.")
        self._count(count)
        return struct.unpack_from(f"<{count}{kind}", self._data, start)

    def tables(self, field: int, most: int) -> list[Table]:
        """Read a field that is a vector of at most ``most`` tables.

        Raises:
            LimitExceeded: There are more.
        """
        start, count = self.vector(field, 4)
        if count > most:
            raise LimitExceeded(f"has a list of {count:,} tables. Allowed: {most:,}.")
        self._count(count)
        data = self._data
        places = range(start, start + 4 * count, 4)
        return [Table(data, place + _U32.unpack_from(data, place)[0], self._left) for place in places]

    def text(self, field: int) -> str:
        """Read a field that is a name; empty where it is missing."""
        start, count = self.vector(field, 1)
        if count > MAX_NAME:
            raise damaged(f"a name of {count:,} letters")
        self._count(1 + count // _LETTERS)
        try:
            return self._data[start : start + count].decode()
        except UnicodeDecodeError as error:
            raise damaged("a name that is not text") from error
