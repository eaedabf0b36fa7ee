"""Every error fmedge raises on purpose, each with the exit code of the command line.

A message says what was got and what is allowed; what to do next is a field of its own, since it names options and
commands of the command line. Anything that is not an :class:`FmedgeError` is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable

MESSAGE_LENGTH = 190
"""Most letters of what the command line says: with "Error: " or "Skipped: " before it the line has no more than 200.
Names, paths, hashes and addresses are never cut and may exceed it."""

_WORD_LENGTH = 24
"""Another word, or what stands in quotes, is not cut to fewer letters."""

_LONGEST_PATH, _LONGEST_NAME = 4096, 255
"""Bytes that Linux allows a path and each name in it: what is longer is neither."""


class FmedgeError(Exception):
    """Base of all errors that a user can cause and mend.

    Attributes:
        exit_code: Of the command line when it ends with this error.
        hint: What to do next, in the words of the command line; empty where there is nothing to add.
        flags: How the command line spells the options that the message names, such as ``--max-pixels`` for
            ``max_pixels``; each stands in the message once or more, and the first is meant.
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
    """A request that cannot be meant: an unknown layer, a channel out of range."""

    exit_code = 2


class ImageError(FmedgeError):
    """An image that is missing or cannot be decoded."""

    exit_code = 3


class ArtifactError(FmedgeError):
    """A model file or its card that is missing, damaged or does not fit its card."""

    exit_code = 4


class WeightsError(FmedgeError):
    """Weights that are missing, damaged, incomplete or cannot be fetched."""

    exit_code = 4


class ParityError(FmedgeError):
    """An exported model that does not compute what its weights say."""

    exit_code = 4


class BackendUnavailable(FmedgeError):
    """An engine that is not installed."""

    exit_code = 5


class ProviderUnavailable(FmedgeError):
    """A device that the engine cannot use here."""

    exit_code = 5


class WriteError(FmedgeError):
    """A file that could not be written; the former one, if any, is still whole."""

    exit_code = 6


class LimitExceeded(FmedgeError):
    """A bound on pixels, memory or time was reached."""

    exit_code = 7


class RegressionFound(FmedgeError):
    """A measurement that is worse than the one it was compared with, by more than was allowed."""

    exit_code = 8


class InputsSkipped(FmedgeError):
    """The work is done, but some of the images were of no use and were skipped."""

    exit_code = 9


def printable(text: str) -> str:
    """A text without what steers a terminal, turns the direction of writing or is no letter at all: a ``?`` for each.

    Such things come from file names and engines.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def one_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """A message as one line of bounded length, without control characters.

    Where it is too long the longest words, or texts in quotes, lose their middle; where there are no long ones the end
    goes. File names, paths, hashes and addresses stay whole wherever they stand, and the bound is then one on the rest.

    Args:
        text: The message.
        length: Most letters.
    """
    import re  # only on the way to an error

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
    """Join the pieces of a message, of which those that may be cut have so many letters together."""
    shown: list[str] = []
    left = length - 1  # for the sign that something is missing
    for piece in pieces:
        if _stays_whole(piece):
            shown.append(piece if left >= 0 else f" {piece}")
        elif left >= 0:
            shown.append(piece if len(piece) <= left else f"{piece[:left]}…")
            left -= len(piece)
    return "".join(shown)


def _stays_whole(piece: str) -> bool:
    """Whether a word, or what stands in quotes, is a file name, path, hash or address that somebody has to copy."""
    import re

    word = piece.strip("'\"()[],;:.")
    if re.fullmatch(r"[0-9a-f]{32,128}|https?://\S+", word):
        return True
    names = re.split(r"[/\\]", word)
    looks_like_one = len(names) > 1 or re.search(r"\w\.\w{1,12}$", word)
    longest = max(len(name.encode(errors="replace")) for name in names)
    return bool(looks_like_one) and longest <= _LONGEST_NAME and len(word.encode(errors="replace")) <= _LONGEST_PATH


def closest(got: str, allowed: Iterable[str]) -> str:
    """The allowed value most alike to what was typed, as words for a message.

    Args:
        got: What the user typed.
        allowed: The values that would have done.

    Returns:
        ``" Closest: 'x'."``, or an empty string when nothing is alike.
    """
    import difflib  # only on the way to an error
    from itertools import takewhile

    def likeness(name: str) -> tuple[float, int]:
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(got, name, strict=False)))
        return difflib.SequenceMatcher(None, got, name).ratio(), alike

    matches = difflib.get_close_matches(got, list(allowed), n=8, cutoff=0.6)
    return f" Closest: '{max(sorted(matches, reverse=True), key=likeness)}'." if matches else ""
