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

    What steers a terminal becomes a ``?``. A file's name that cannot be read as text leaves with the bytes that it has,
    but for a terminal; letters that the stream's encoding lacks are written as escapes.
    """
    text = _shown(text)
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


def _shown(text: str) -> str:
    if text.isprintable():
        return text
    kept = "" if sys.stdout is not None and sys.stdout.isatty() else _FILE_BYTES
    return "".join(letter if letter in kept or letter == "\n" else printable(letter) for letter in text)


_FILE_BYTES = "".join(map(chr, range(0xDC80, 0xDD00)))
"""How Python writes the bytes of a file's name that are no UTF-8."""


def print_json(data: object) -> None:
    """Print data as JSON on stdout.

    What cannot be shown, such as control characters, and what standard output cannot write, is written as escapes.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if not _can_write(text, "strict"):
        text = json.dumps(data, indent=2)
    emit("".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """Print a table on stdout: the first ``left`` columns to the left, the others to the right."""
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
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
                talk(f"\r\x1b[K[{bar:<{self._WIDTH}}] {printable(words)}", end=end)
        elif int(share * 10) > self._tenths:
            self._tenths = int(share * 10)
            say(words)
