"""What holds images, and how one of them is read: files, tar archives, tables of Parquet."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from fmedge.bulk.arrow import arrow, first_line
from fmedge.bulk.remote import connect, fetch, is_remote, local_path, reaching
from fmedge.data.image_bounds import MAX_BYTES
from fmedge.errors import ArtifactError, ImageError, UsageError
from fmedge.system.reading import read_bytes

Content = bytes | npt.NDArray[np.uint8]
"""An image: the bytes of a file, or pixels (height, width, 3), RGB."""

REMOTE_READERS = 16
"""Images that are read from elsewhere at once: an answer takes 20 to 100 ms there, and decoding less than 10."""

_BATCH_ROWS = 16
"""Rows of a table that are decoded at once."""

_BUFFER_BYTES = 1 << 20


class Source(Protocol):
    """Something that holds images, in an order."""

    @property
    def readers(self) -> int:
        """How many images are best read at once; 1 where they must be read in order."""
        ...

    def read(self, number: int, key: str) -> Content:
        """Return an image.

        Args:
            number: Its place in the source.
            key: Its key in the data set.

        Raises:
            ImageError: It cannot be read.
            BackendUnavailable: The place where it lies cannot be reached.
        """
        ...


def joined(folder: str, name: str) -> str:
    """Return the address of a name in a folder; an address of its own, or an absolute path, stays."""
    if is_remote(name) or name.startswith(("/", "file://")) or not folder:
        return name
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder) / name)


@dataclass(frozen=True, slots=True)
class Files:
    """Files, each with a name below a folder or an address of its own.

    Attributes:
        folder: The folder.
        skip: Letters at the start of a key that are not part of the name.
        readers: See :class:`Source`.
    """

    folder: str
    skip: int = 0
    readers: int = 1

    def read(self, number: int, key: str) -> bytes:
        """Return an image; see :class:`Source`."""
        del number
        address = joined(self.folder, key[self.skip :])
        if is_remote(address):
            content = fetch(address, key, MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ImageError(f"'{key}' cannot be read: it is too large.")
            return content
        try:
            return read_bytes(Path(local_path(address)), MAX_BYTES)
        except ArtifactError as error:
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else "it is too large"
            raise ImageError(f"'{key}' cannot be read: {reason}.") from error


@dataclass(frozen=True, slots=True)
class Archive:
    """The members of a tar archive, which is not compressed.

    Attributes:
        address: The archive.
        starts: Where the members' bytes begin.
        sizes: How many there are.
    """

    address: str
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @property
    def readers(self) -> int:
        """See :class:`Source`."""
        return REMOTE_READERS if is_remote(self.address) else 1

    def read(self, number: int, key: str) -> bytes:
        """Return a member; see :class:`Source`."""
        start, size = int(self.starts[number]), int(self.sizes[number])
        if size > MAX_BYTES:
            raise ImageError(f"'{key}' cannot be read: it is too large.")
        if is_remote(self.address):
            content = fetch(self.address, key, size, start) if size else b""
        else:
            try:
                with Path(local_path(self.address)).open("rb") as file:
                    file.seek(start)
                    content = file.read(size)
            except OSError as error:
                raise ImageError(f"'{key}' cannot be read: {error.strerror}.") from error
        if len(content) < size:
            raise ImageError(f"'{key}' cannot be read: its archive ends within it.")
        return content


class Table:
    """A column of a Parquet file: bytes of image files, or Hugging Face's records of ``bytes`` and ``path``.

    Attributes:
        rows: Number of rows.
    """

    readers = 1

    def __init__(self, address: str, column: str) -> None:
        """Open a table.

        Raises:
            ImageError: It is none.
            UsageError: It has no such column, or one of another kind.
        """
        self._address, self.column = address, column
        self._file = open_table(address)
        kind = field_of(self._file, address, column).type
        types = arrow().types
        self._inner = types.is_struct(kind)
        if self._inner:
            kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else None
        if kind is None or not (types.is_binary(kind) or types.is_large_binary(kind)):
            raise UsageError(f"The column '{column}' of '{address}' holds neither bytes of images nor their paths.")
        groups = range(self._file.num_row_groups)
        self._ends = np.cumsum([self._file.metadata.row_group(group).num_rows for group in groups], dtype=np.int64)
        self.rows: int = self._file.metadata.num_rows
        self._lock = threading.Lock()
        self._next, self._values = -1, iter(())

    def __reduce__(self) -> tuple[type[Table], tuple[str, str]]:
        return Table, (self._address, self.column)

    def read(self, number: int, key: str) -> bytes:
        """Return a row's image; rows are read in order, and any other order begins anew; see :class:`Source`."""
        with self._lock:
            if number != self._next:
                self._values, self._next = self._from(number), number
            try:
                found = next(self._values)
            except (OSError, arrow().ArrowException) as error:
                self._next = -1
                raise ImageError(f"'{key}' cannot be read: {first_line(error)}") from error
            self._next += 1
        if found is None:
            raise ImageError(f"'{key}' cannot be read: its row is empty.")
        return found

    def _from(self, number: int) -> Iterator[bytes | None]:
        first = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[first - 1]) if first else 0
        for group in range(first, len(self._ends)):
            for batch in self._file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[self.column]):
                column = batch.column(0)
                for value in column.field("bytes") if self._inner else column:
                    if before >= number:
                        yield value.as_py()
                    before += 1


def open_table(address: str) -> Any:  # noqa: ANN401
    """Return pyarrow's ``ParquetFile``, which reads little at a time.

    Raises:
        ImageError: It is none.
        BackendUnavailable: It cannot be reached.
    """
    pa = arrow()
    where: Any = local_path(address)
    if is_remote(address):
        files, path = connect(address)
        with reaching(address):
            where = files.open(path, "rb")
    try:
        return pa.parquet.ParquetFile(where, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise ImageError(f"'{address}' is not a Parquet file ({first_line(error)})") from error


def field_of(file: Any, address: str, column: str | None) -> Any:  # noqa: ANN401
    """Return a column's field; None takes the only column that can hold images.

    Raises:
        UsageError: There is no such column, or more than one.
    """
    schema, types = file.schema_arrow, arrow().types
    if column is None:
        kinds = (types.is_binary, types.is_large_binary, types.is_struct)
        likely = [field.name for field in schema if any(kind(field.type) for kind in kinds)]
        column = likely[0] if len(likely) == 1 else None
    if column not in schema.names:
        raise UsageError(which("column", column, address, schema.names), hint="Name one: --column.")
    return schema.field(column)


def column_of_text(file: Any, column: str) -> Iterator[str]:  # noqa: ANN401
    """Yield a column's texts.

    Raises:
        UsageError: A row holds none.
    """
    for batch in file.iter_batches(columns=[column]):
        for value in batch.column(0).to_pylist():
            if not isinstance(value, str):
                raise UsageError(f"The column '{column}' has a row without a text: {value!r}.")
            yield value


def which(what: str, name: str | None, address: str, there: Iterable[str]) -> str:
    """Return what to say where a column or data set is not named, or not there."""
    names = ", ".join(f"'{each}'" for each in there) or "none"
    if name is None:
        return f"Which {what} of '{address}' holds the images? There: {names}."
    return f"'{address}' has no {what} '{name}'. There: {names}."


def members_of(address: str, suffixes: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and size of the images in a tar archive, in their order.

    Raises:
        ImageError: It is no archive, is compressed, or ends within a member.
        BackendUnavailable: It cannot be reached.
    """
    import tarfile

    try:
        with _opened(address) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(tuple(suffixes)):
                    yield member.name, member.offset_data, member.size
                cast("Any", tar).members = []  # or it keeps them all
    except (tarfile.TarError, OSError, EOFError) as error:
        words = str(error).rstrip(".")
        raise ImageError(f"'{address}' is not a plain tar archive ({words}). Decompress it first.") from error


def _opened(address: str) -> Any:  # noqa: ANN401
    if not is_remote(address):
        return Path(local_path(address)).open("rb")
    files, path = connect(address)
    with reaching(address):
        return files.open(path, "rb", block_size=4 << 20)  # headers lie between the images, some 50 of them in 4 MB
