"""Addresses such as ``s3://bucket/photos``: fsspec reaches them, and whatever goes wrong there is one line."""

from __future__ import annotations

import contextlib
import errno
import importlib
import re
from collections.abc import Callable, Generator
from typing import Any

from fmedge.errors import BackendUnavailable, FmedgeError, ImageError

ANSWER_S = 60.0
"""Longest time for one answer, in seconds: botocore's own limit for a connection that is silent."""

SLOWEST = 1 << 20
"""Bytes a second that an answer may have more time for: a slow line, 8 megabits a second."""

_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"max_concurrency": 1}, "s3a": {"max_concurrency": 1}}
"""What file systems are asked for, by the kind of address: of S3, one request for an image, and not its size first."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")

_LOCAL = "file"


def is_remote(address: str) -> bool:
    """Return whether an address is one of another machine (or of fsspec's memory) and no path."""
    match = _SCHEME.match(address)
    return match is not None and match[1].lower() != _LOCAL


def local_path(address: str) -> str:
    """Return an address that is not remote as a path: without ``file://``."""
    match = _SCHEME.match(address)
    return address[match.end() :] if match else address


def connect(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it.

    Raises:
        BackendUnavailable: fsspec, or what it needs for this kind of address, is missing; or it refuses the address.
    """
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError as error:
        words = f"'{address}' needs fsspec."
        raise BackendUnavailable(words, hint="Install it: pip install 'fmedge[bulk]'.") from error
    with reaching(address):
        return fsspec.core.url_to_fs(address, **_OPTIONS.get(address.partition(":")[0].lower(), {}))


@contextlib.contextmanager
def reaching(address: str) -> Generator[None]:
    """Turn whatever is raised in the block into a :class:`BackendUnavailable` that names the address.

    fsspec's implementations raise errors of their own libraries (botocore, aiohttp, google-auth, ...), which have no
    common class.
    """
    try:
        yield
    except FmedgeError:
        raise
    except ImportError as error:
        raise BackendUnavailable(f"'{address}': {_line(error)}.") from error
    except PermissionError as error:
        raise BackendUnavailable(f"No permission for '{address}' ({_line(error)}).") from error
    except Exception as error:
        raise BackendUnavailable(f"'{address}' cannot be reached ({_line(error)}).") from error


def fetch(address: str, key: str, most: int, start: int = 0) -> bytes:
    """Return the bytes of a remote file, or of a part of it.

    Args:
        address: The file.
        key: What the image is called.
        most: How many bytes are read, at most.
        start: The first of them.

    Raises:
        ImageError: There is no such file, or it is not answered in time.
        BackendUnavailable: It cannot be reached, or must not be read: nor can the others be expected to be.
    """
    files, path = connect(address)
    with reaching(address):
        try:
            return bounded(files, "cat_file", path, start=start, end=start + most, size=most)
        except FileNotFoundError as error:
            raise ImageError(f"'{key}' cannot be read: No such file.") from error
        except TimeoutError as error:  # fsspec's own is one
            raise ImageError(f"'{key}' cannot be read: no answer in time.") from error
        except OSError as error:
            if error.errno == errno.EINVAL:  # S3 has no part of an empty file
                return b""
            raise


def bounded(files: Any, name: str, *args: Any, size: int = 0, **options: Any) -> Any:  # noqa: ANN401
    """Call a method of a file system, for a limited time where that is possible.

    botocore alone may wait for good for the answer to what it sends.

    Args:
        files: The file system.
        name: The method.
        *args: Its arguments.
        size: Bytes that are sent or read, at most.
        **options: Its other arguments.

    Raises:
        TimeoutError: It took longer.
    """
    if not files.async_impl:
        return getattr(files, name)(*args, **options)  # they have limits of their own
    asyn = importlib.import_module("fsspec.asyn")
    inner: Callable[..., Any] = getattr(files, f"_{name}")
    return asyn.sync(files.loop, inner, *args, timeout=ANSWER_S + size / SLOWEST, **options)


def _line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
