"""What the commands say: data on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from fmedge.errors import WriteError, printable
from fmedge.quiet import talk


def say(text: str) -> None:
    """Print one line of talk on stderr; control characters of file names and the like are left out.

    A word of more than 160 letters, such as a path, is shown without its middle.
    """
    text = re.sub(r"\S{160,}", lambda word: f"{word[0][:60]}…{word[0][-80:]}", text)
    talk(printable(text))


def show_trace(error: BaseException) -> None:
    """Print where an error and its causes came from, on stderr, without the control characters of their texts."""
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        talk(printable(line))


class ReaderGone(Exception):
    """Nobody reads our standard output any more; the command ends, and well."""


def emit(text: str) -> None:
    """Print data on stdout. Where its reader has gone, as with ``| head``, the command ends quietly.

    A file's name that cannot be read as text leaves with the bytes that it has; letters that the stream's encoding
    lacks are written as escapes.
    """
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape" if _can_write(text, "surrogateescape") else "backslashreplace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReaderGone from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise WriteError(f"Cannot write to the standard output: {error.strerror}.") from error


def _can_write(text: str, errors: str) -> bool:
    """Whether standard output's encoding has a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def print_json(data: object) -> None:
    """Print data as JSON on stdout; what standard output cannot write is written in JSON's own escapes."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    emit(text if _can_write(text, "strict") else json.dumps(data, indent=2))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """Print a table on stdout: the first ``left`` columns to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        emit("  ".join(cells).rstrip())


class ProgressLine:
    """A bar on stderr, where stderr is a terminal; elsewhere a line for every tenth. A ``Progress``."""

    _WIDTH = 30
    _PAUSE_S = 0.1

    def __init__(self) -> None:
        self._shown_at = 0.0
        self._tenths = -1

    def clear(self) -> None:
        """Take the bar off the screen, for other lines to follow."""
        if sys.stderr.isatty() and self._shown_at:
            talk("\r\x1b[K", end="")

    def __call__(self, words: str, share: float) -> None:
        """Show how much is done."""
        finished = share >= 1
        if sys.stderr.isatty():
            if finished or time.monotonic() - self._shown_at >= self._PAUSE_S:
                self._shown_at = time.monotonic()
                bar = "#" * round(share * self._WIDTH)
                end = "\n" if finished else ""
                talk(f"\r\x1b[K[{bar:<{self._WIDTH}}] {words}", end=end)
        elif int(share * 10) > self._tenths:
            self._tenths = int(share * 10)
            say(words)
