"""pyarrow, which is an extra: tables of Parquet."""

from __future__ import annotations

import importlib
import io
from typing import Any

from fmedge.errors import ArtifactError, BackendUnavailable

COMPRESSION = "zstd"
"""With their bytes split, vectors shrink to 0.83, those of int8 to 0.67 of a byte per value. With the dictionaries that
Parquet makes by default, floats would grow by half."""


def arrow() -> Any:  # noqa: ANN401 - the module, which is an extra
    """Return pyarrow, with the part for Parquet.

    Raises:
        BackendUnavailable: It is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise BackendUnavailable("Data sets need pyarrow.", hint="Install it: pip install 'fmedge[bulk]'.") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error, which ends with a full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".") + "."


def read_table(content: bytes, name: str, schema: Any = None) -> Any:  # noqa: ANN401
    """Read a table of Parquet.

    Raises:
        ArtifactError: It is damaged, or has other columns.
    """
    pa = arrow()
    try:
        table = pa.parquet.read_table(io.BytesIO(content))
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"'{name}' is damaged ({first_line(error)})") from error
    if schema is not None and not table.schema.remove_metadata().equals(schema):
        raise ArtifactError(f"'{name}' has other columns than a manifest.")
    return table


def write_table(table: Any, values: tuple[str, ...] = ()) -> bytes:  # noqa: ANN401
    """Return a table as Parquet: one row group; columns of vectors with their bytes split."""
    stream = io.BytesIO()
    split = [f"{name}.list.element" for name in values]
    arrow().parquet.write_table(
        table,
        stream,
        compression=COMPRESSION,
        row_group_size=max(1, table.num_rows),
        use_dictionary=[name for name in table.column_names if name not in values],
        column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
    )
    return stream.getvalue()
