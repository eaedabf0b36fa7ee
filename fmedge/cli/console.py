"""Output of the commands: data on stdout, messages on stderr."""

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
    """Print a one-line message on stderr, without control characters, which file names for example may contain.

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
    """Print the traceback of an error and its causes on stderr, without control characters."""
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        talk(printable(line))


class Output:
    """Standard output while a command runs: if it cannot be written, the command goes on, and reports it at its end.

    Attributes:
        lost: Why something could not be printed; None where all was, or where the reader is gone, as with ``| head``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: WriteError | None = None

    def write(self, text: str) -> int:
        """Write text as the stream itself does; return its length."""
        with self._losing():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
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
                self.lost = WriteError(f"Cannot write to standard output: {error.strerror}.")


@contextlib.contextmanager
def patient_output() -> Generator[Output]:
    """Make ``sys.stdout`` raise no errors until the block ends, whatever prints to it."""
    former = sys.stdout
    output = Output(former)
    sys.stdout = cast("TextIO", output)
    try:
        yield output
    finally:
        sys.stdout = former


def emit(text: str) -> None:
    """Print a line of data on stdout.

    Characters that control a terminal or end the line become a ``?``. A file name that is not valid text is written
    with its own bytes, except to a terminal; letters that the stream's encoding lacks are written as escapes.
    """
    _print(_shown(text))


def _print(text: str) -> None:
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        with contextlib.suppress(OSError):  # reconfigure flushes
            reconfigure(errors="surrogateescape" if _can_write(text, "surrogateescape") else "backslashreplace")
    print(text, flush=True)


def _can_write(text: str, errors: str) -> bool:
    """Return whether standard output's encoding can represent a text."""
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
"""Characters by which Python represents bytes of a file name that are not UTF-8, without those of lower bytes, which
control 8-bit terminals."""


def print_json(data: object) -> None:
    """Print data as JSON on stdout.

    Characters that cannot be shown, such as control characters, or that standard output cannot write become escapes.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if not _can_write(text, "strict"):
        text = json.dumps(data, indent=2)
    _print("".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """Print a table on stdout: the first ``left`` columns aligned left, the others right."""
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        emit("  ".join(cells).rstrip())


class ProgressLine:
    """A ``Progress`` on stderr: a bar if stderr is a terminal, otherwise a line for every tenth."""

    _WIDTH = 30
    _PAUSE_S = 0.1

    def __init__(self) -> None:
        self._shown_at = 0.0
        self._tenths = -1

    def clear(self) -> None:
        """Remove the bar from the screen so that other lines can follow."""
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
