"""Every error that fmedge raises on purpose, each with its exit code for the command line.

A message says what was received and what is allowed; what to do next is a field of its own, since it names options and
commands of the command line. Any other exception is a bug in fmedge and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable

MESSAGE_LENGTH = 190
"""Most letters of what the command line prints: with "Error: " or "Skipped: " before it, the line has at most 200.
Names, paths, hashes and addresses are never cut and may exceed it."""

_WORD_LENGTH = 24
"""Any other word, or quoted text, is not cut to fewer letters than this."""

_LONGEST_PATH, _LONGEST_NAME = 4096, 255
"""Longest path, and longest name in it, that Linux allows, in bytes: anything longer is neither."""


class FmedgeError(Exception):
    """Base of all errors that a user can cause and fix.

    Attributes:
        exit_code: Exit code of the command line when it ends with this error.
        hint: What to do next, in the words of the command line; empty where there is nothing to add.
        flags: How the command line spells the options that the message names, such as ``--max-pixels`` for
            ``max_pixels``; the first occurrence in the message is replaced.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, hint: str = "", flags: tuple[str, ...] = ()) -> None:
        """Make both texts lines, without control characters; they are not cut.

        Args:
            message: What was got and what is allowed: the text of the exception.
            hint: As above.
            flags: As above.
        """
        super().__init__(printable(message))
        self.hint = printable(hint)
        self.flags = flags

    def in_full(self) -> str:
        """The message with its flags, and the hint: one line, as the command line says it (see :func:`one_line`)."""
        text = str(self)
        for flag in self.flags:
            text = text.replace(flag.removeprefix("--").replace("-", "_"), flag, 1)
        return one_line(f"{text} {self.hint}" if self.hint else text)


class UsageError(FmedgeError):
    """A request that makes no sense: an unknown layer, a channel out of range."""

    exit_code = 2


class ImageError(FmedgeError):
    """An image that is missing or cannot be decoded."""

    exit_code = 3


class ArtifactError(FmedgeError):
    """A model file or its card that is missing or damaged, or that do not match."""

    exit_code = 4


class WeightsError(FmedgeError):
    """Weights that are missing, damaged or incomplete, or that cannot be downloaded."""

    exit_code = 4


class ParityError(FmedgeError):
    """An exported model that does not compute what its weights define."""

    exit_code = 4


class BackendUnavailable(FmedgeError):
    """An engine that is not installed."""

    exit_code = 5


class ProviderUnavailable(FmedgeError):
    """A device that the engine cannot use here."""

    exit_code = 5


class SensorUnavailable(FmedgeError):
    """A figure that this machine has no sensor for."""

    exit_code = 5


class BoardUnavailable(FmedgeError):
    """A board that cannot be reached or is not set up, or on which a job cannot be finished."""

    exit_code = 5


class WriteError(FmedgeError):
    """A file that could not be written; a previous one, if any, is still whole."""

    exit_code = 6


class LimitExceeded(FmedgeError):
    """A limit on pixels, memory or time was reached."""

    exit_code = 7


class RegressionFound(FmedgeError):
    """A measurement that is worse than the one it was compared with, by more than was allowed."""

    exit_code = 8


class InputsSkipped(FmedgeError):
    """The work is done, but some of the images could not be used and were skipped."""

    exit_code = 9


def printable(text: str) -> str:
    """Replace each unprintable character by a ``?``, also those that steer a terminal or turn the writing direction.

    Such characters come from file names and engines.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def one_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """Return a message as one line of bounded length, without control characters.

    If it is too long, the longest words or quoted texts lose their middle; if there are no long ones, the end is cut.
    File names, paths, hashes and addresses stay whole wherever they stand; the limit then applies to the rest.

    Args:
        text: The message.
        length: Most letters.
    """
    import re  # only when an error is reported

    line = printable(text)
    if len(line) <= length:
        return line
    pieces = re.findall(r"'[^']*'|\S+|\s+", line)
    others = [index for index, piece in enumerate(pieces) if not _stays_whole(piece)]
    while (excess := sum(map(len, pieces)) - length) > 0 and others:
        longest = max(others, key=lambda index: len(pieces[index]))
        word = pieces[longest]
        kept = max(_WORD_LENGTH, len(word) - excess - 1)
        if len(word) <= kept + 1:
            break
        pieces[longest] = f"{word[: kept // 3]}…{word[kept // 3 - kept :]}"
    if sum(len(pieces[index]) for index in others) <= length:
        return "".join(pieces)
    return _without_end(pieces, length)


def _without_end(pieces: list[str], length: int) -> str:
    """Join the pieces of a message; those that may be cut get at most ``length`` letters together."""
    shown: list[str] = []
    left = length - 1  # for the ellipsis
    for piece in pieces:
        if _stays_whole(piece):
            shown.append(piece if left >= 0 else f" {piece}")
        elif left >= 0:
            shown.append(piece if len(piece) <= left else f"{piece[:left]}…")
            left -= len(piece)
    return "".join(shown)


def _stays_whole(piece: str) -> bool:
    """Return whether a word or quoted text is a file name, path, hash or address that somebody has to copy."""
    import re

    word = piece.strip("'\"()[],;:.")
    if re.fullmatch(r"[0-9a-f]{32,128}|https?://\S+", word):
        return True
    names = re.split(r"[/\\]", word)
    looks_like_one = len(names) > 1 or re.search(r"\w\.\w{1,12}$", word)
    longest = max(len(name.encode(errors="replace")) for name in names)
    return bool(looks_like_one) and longest <= _LONGEST_NAME and len(word.encode(errors="replace")) <= _LONGEST_PATH


def closest(got: str, allowed: Iterable[str]) -> str:
    """Return a hint with the allowed value that is most similar to what was typed, for a message.

    Args:
        got: What the user typed.
        allowed: The allowed values.

    Returns:
        ``" Closest: 'x'."``, or an empty string when nothing is similar.
    """
    import difflib  # only when an error is reported
    from itertools import takewhile

    def likeness(name: str) -> tuple[float, int]:
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(got, name, strict=False)))
        return difflib.SequenceMatcher(None, got, name).ratio(), alike

    matches = difflib.get_close_matches(got, list(allowed), n=8, cutoff=0.6)
    return f" Closest: '{max(sorted(matches, reverse=True), key=likeness)}'." if matches else ""
