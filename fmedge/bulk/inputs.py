"""The images of a data set, in an order, each with a key."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np

from fmedge.bulk.sources import Content, Source


class Input(NamedTuple):
    """An image.

    Attributes:
        key: What it is called in the data set: its path below the folder that was named, a list's line, or a member.
        source: What holds it.
        number: Its place there.
    """

    key: str
    source: Source
    number: int

    def read(self) -> Content:
        """Return the image.

        Raises:
            ImageError: It cannot be read.
            BackendUnavailable: The place where it lies cannot be reached.
        """
        return self.source.read(self.number, self.key)


class Keys(Sequence[str]):
    """Texts in one piece of memory: as objects, those of a million images take 100 MB."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._bytes, self._ends = bytearray(), array("Q", [0])
        for text in texts:
            self._bytes += text.encode(errors="surrogateescape")
            self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Group:
    """The images of one source.

    Attributes:
        source: The source.
        keys: Their keys, in its order.
    """

    source: Source
    keys: Keys


class Inputs(Sequence[Input]):
    """Images of several sources, one after the other; an image is made when it is asked for."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = tuple(each for each in groups if len(each.keys))
        self._ends = list(itertools.accumulate(len(each.keys) for each in self.groups))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Input: ...
    @overload
    def __getitem__(self, index: slice) -> list[Input]: ...
    def __getitem__(self, index: int | slice) -> Input | list[Input]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = int(np.searchsorted(self._ends, index, side="right"))
        number = index - (self._ends[place - 1] if place else 0)
        group = self.groups[place]
        return Input(group.keys[number], group.source, number)

    @property
    def readers(self) -> int:
        """How many images are best read at once."""
        return min((each.source.readers for each in self.groups), default=1)

    def keys(self) -> Iterator[str]:
        """Yield all keys, in order."""
        for group in self.groups:
            yield from group.keys
