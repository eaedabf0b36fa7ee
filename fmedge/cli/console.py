"""What the commands say: data on stdout, talk on stderr."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TextIO, cast

from fmedge.errors import WriteError, printable
from fmedge.system.stderr import mute, talk


def say(text: str) -> None:
    """Print one line of talk on stderr; control characters of file names and the like are left out.

    A word of more than 160 letters, such as a path, is shown without its middle.
    """
    text = re.sub(r"\S{160,}", lambda word: f"{word[0][:60]}…{word[0][-80:]}", text)
    talk(printable(text))


@contextlib.contextmanager
def logged_lines() -> Generator[None]:
    """Say what the library logs, a line each, until the block ends."""
    import logging  # not every command needs it

    from fmedge.system.log import log

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    lines, propagate = Lines(), log.propagate
    log.addHandler(lines)
    log.propagate = False  # TensorFlow gives the root logger a handler, which would say all once more
    log.isEnabledFor = lambda level: level >= logging.INFO  # where a block silences all logging of libraries, too
    try:
        yield
    finally:
        del log.isEnabledFor
        log.propagate = propagate
        log.removeHandler(lines)


def show_trace(error: BaseException) -> None:
    """Print where an error and its causes came from, on stderr, without the control characters of their texts."""
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        talk(printable(line))


class Output:
    """Standard output while a command runs: where it cannot be written, the command goes on, and its end says so.

    Attributes:
        lost: Why something could not be printed; None where all was, or where the reader has gone, as with ``| head``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: WriteError | None = None

    def write(self, text: str) -> int:
        """Write, as the stream itself would."""
        with self._losing():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits to be."""
        with self._losing():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the stream's own
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _losing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            mute(self._stream)
            if not isinstance(error, BrokenPipeError):
                self.lost = WriteError(f"Cannot write to the standard output: {error.strerror}.")


@contextlib.contextmanager
def patient_output() -> Generator[Output]:
    """Let ``sys.stdout`` raise no error until the block ends, whoever prints."""
    former = sys.stdout
    output = Output(former)
    sys.stdout = cast("TextIO", output)
    try:
        yield output
    finally:
        sys.stdout = former


def emit(text: str) -> None:
    """Print a line of data on stdout.

    What steers a terminal or ends the line becomes a ``?``. A file's name that cannot be read as text leaves with the
    bytes that it has, but for a terminal; letters that the stream's encoding lacks are written as escapes.
    """
    _print(_shown(text))


def _print(text: str) -> None:
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        with contextlib.suppress(OSError):  # it flushes
            reconfigure(errors="surrogateescape" if _can_write(text, "surrogateescape") else "backslashreplace")
    print(text, flush=True)


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
    return "".join(letter if letter in kept else printable(letter) for letter in text)


_FILE_BYTES = "".join(map(chr, range(0xDCA0, 0xDD00)))
"""How Python writes the bytes of a file's name that are no UTF-8; those below steer terminals of 8 bits."""


def print_json(data: object) -> None:
    """Print data as JSON on stdout.

    What cannot be shown, such as control characters, and what standard output cannot write, is written as escapes.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if not _can_write(text, "strict"):
        text = json.dumps(data, indent=2)
    _print("".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))


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
