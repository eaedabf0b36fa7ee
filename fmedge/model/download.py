"""Download one known file."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from fmedge.errors import WeightsError
from fmedge.system.files import create_folder, replacing
from fmedge.system.progress import Progress, no_progress

ATTEMPTS = 3
"""Most connections; each resumes where the previous one was cut."""

TIMEOUT_S = 20.0
"""Longest time without data, in seconds."""

LEAST_BYTES_PER_S = 1000
"""Slowest connection that is accepted, measured after ``TIMEOUT_S``: about a GSM phone's 9,600 bits per second."""

_CHUNK_BYTES = 1 << 18

_md5 = partial(hashlib.md5, usedforsecurity=False)


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only if it keeps the scheme: https never becomes http or a file."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != urlsplit(req.full_url).scheme:
            fp.close()
            raise urllib.error.URLError(f"redirected to another scheme, {scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, target: Path, *, md5: str, max_bytes: int, progress: Progress = no_progress) -> None:
    """Download a file, check it, and only then give it its name.

    A connection that is cut is resumed where it ended. Nothing is left on the disk after a failure.

    Args:
        url: Address of the file.
        target: Where to write it; the folder is created.
        md5: Expected hash, hexadecimal.
        max_bytes: Largest size accepted.
        progress: Called with how much has arrived.

    Raises:
        WeightsError: It cannot be reached, is too large, or is not the expected file.
        WriteError: It cannot be written.
    """
    create_folder(target.parent)
    host = urlsplit(url).hostname
    digest = _md5()
    received = 0

    def is_whole(stream: IO[bytes]) -> bool:
        written = _md5()
        while block := stream.read(_CHUNK_BYTES):
            written.update(block)
        return written.hexdigest() == md5

    with replacing(target, is_whole) as stream:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with contextlib.closing(_chunks(url, received)) as chunks:
                    for chunk in chunks:
                        received += len(chunk)
                        if received > max_bytes:
                            raise WeightsError(f"{host} sent more than the {max_bytes:,} bytes expected.")
                        digest.update(chunk)
                        stream.write(chunk)
                        words = f"downloading {received / 1e6:.1f} of {max_bytes / 1e6:.1f} MB"
                        progress(words, received / max_bytes)
                break
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()  # it keeps the connection open
                refused = isinstance(error, urllib.error.HTTPError) or received == 0
                if refused or attempt == ATTEMPTS:  # trying again does not help where nothing came
                    raise WeightsError(f"Cannot download from {host} ({_reason(error)}).") from error
        if digest.hexdigest() != md5:
            raise WeightsError(f"{host} sent a file that is not the expected one (MD5 differs).")


def _chunks(url: str, offset: int) -> Generator[bytes]:
    """Yield the content of the file from that byte on; raise ``IncompleteRead`` where the connection was cut."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    with urllib.request.build_opener(_SameScheme).open(request, timeout=TIMEOUT_S) as response:
        skip = 0 if response.status == http.client.PARTIAL_CONTENT else offset
        missing = int(response.headers.get("Content-Length") or 0)
        began, read = time.monotonic(), 0
        while chunk := response.read1(_CHUNK_BYTES):
            read += len(chunk)
            passed = time.monotonic() - began
            if passed > TIMEOUT_S and read < passed * LEAST_BYTES_PER_S:
                raise TimeoutError(f"slower than {LEAST_BYTES_PER_S:,} bytes per second")
            missing -= len(chunk)
            yield chunk[skip:]
            skip = max(0, skip - len(chunk))
        if missing > 0:
            raise http.client.IncompleteRead(b"", missing)


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause or type(error).__name__)
