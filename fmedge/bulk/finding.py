"""Find the images of a data set: the same ones, in the same order, on every machine."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fmedge.bulk.hdf5 import Hdf5
from fmedge.bulk.inputs import Group, Inputs, Keys
from fmedge.bulk.remote import connect, fetch, is_remote, local_path, reaching
from fmedge.bulk.sources import (
    REMOTE_READERS,
    Archive,
    Files,
    Table,
    column_of_text,
    field_of,
    members_of,
    open_table,
)
from fmedge.data.image_list import IMAGE_SUFFIXES, expand_images, is_several
from fmedge.errors import ArtifactError, ImageError, UsageError
from fmedge.system.files import is_file, is_folder
from fmedge.system.reading import read_bytes

LIST_SUFFIXES = (".txt", ".lst")
TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz")
TABLE_SUFFIXES = (".parquet", ".pq")
HDF5_SUFFIXES = (".h5", ".hdf5")

_MOST_LIST_BYTES = 1 << 34
_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


def find_inputs(sources: Sequence[str], column: str | None = None) -> Inputs:
    """Return the images that sources stand for, each with a key of its own.

    A folder stands for all images in it and below, files before folders, sorted; a pattern for what matches, sorted; a
    file ``.txt`` or ``.lst`` for the paths or addresses in its lines, which count from its folder; a ``.tar`` for its
    members, in their order; a ``.parquet`` for the rows of a column of images, or of paths; an ``.h5`` for those of a
    data set. ``{000..099}`` and ``{a,b}`` stand for several sources. Anything else is an image. Each of them may be an
    address that fsspec knows.

    Args:
        sources: Paths or addresses.
        column: Column of Parquet files, or data set of HDF5 files; None takes the only one that can be meant.

    Raises:
        ImageError: There is none, a source is missing, or a list or archive cannot be read.
        UsageError: Two have the same key, or there is no such column.
        BackendUnavailable: An address cannot be reached, or a package is missing.
    """
    several = [each for source in sources for each in _braces(source)]
    remote = sum(is_remote(each) for each in several)

    def expand(source: str) -> list[Group]:
        return list(_expand(source, column, several=len(several) > 1))

    with ThreadPoolExecutor(REMOTE_READERS if remote > 1 else 1) as pool:
        inputs = Inputs(itertools.chain.from_iterable(pool.map(expand, several)))
    if not len(inputs):
        raise ImageError(f"No images in '{several[0]}'." if several else "No images were named.")
    _require_unique(inputs)
    return inputs


def named_inputs(names: Iterable[str]) -> Inputs:
    """Return images by their paths or addresses, which are their keys.

    Raises:
        ImageError: There is none.
        UsageError: Two are the same.
    """
    inputs = Inputs([_named("", names)])
    if not len(inputs):
        raise ImageError("No images were named.")
    _require_unique(inputs)
    return inputs


def _require_unique(inputs: Inputs) -> None:
    hashes = np.fromiter((_hash(key) for key in inputs.keys()), np.uint64, len(inputs))  # noqa: SIM118
    ordered = np.sort(hashes)
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    seen: set[str] = set()
    for key in inputs.keys() if twice else ():
        if _hash(key) in twice:
            if key in seen:
                raise UsageError(f"Two inputs are called '{key}'. Name their common folder, or use a list of paths.")
            seen.add(key)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest())


def _braces(source: str) -> Iterator[str]:
    """Yield what ``{000..099}`` and ``{a,b}`` stand for; a file with such a name is itself."""
    match = _BRACES.search(source)
    if match is None or (not is_remote(source) and is_file(Path(local_path(source)))):
        yield source
        return
    first, last, words = match.groups()
    parts = words.split(",") if words else [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    for part in parts:
        yield from _braces(source[: match.start()] + part + source[match.end() :])


def _expand(source: str, column: str | None, *, several: bool) -> Iterator[Group]:
    remote = is_remote(source)
    for suffixes, read in _KINDS.items():
        if source.lower().endswith(suffixes) and not _MAGIC.search(source):
            if not remote and not is_file(Path(local_path(source))):
                break
            yield from read(source, column)
            return
    if remote:
        yield _remote_files(source, several=several)
        return
    path = Path(local_path(source))
    if is_folder(path):
        start = f"{path.name}/" if several and path.name else ""
        yield Group(
            Files(str(path), len(start)), Keys(start + each.relative_to(path).as_posix() for each in _walk(path))
        )
    elif is_several(path):
        found = expand_images([path])
        fixed = Path(*itertools.takewhile(lambda part: not _MAGIC.search(part), path.parts))
        tables = [str(each) for each in found if each.suffix.lower() in (*TABLE_SUFFIXES, *HDF5_SUFFIXES, ".tar")]
        for table in tables:
            yield from _expand(table, column, several=True)
        names = [each for each in found if str(each) not in set(tables)]
        yield Group(Files(str(fixed)), Keys(each.relative_to(fixed).as_posix() for each in names))
    elif is_file(path):
        yield Group(Files(str(path.parent)), Keys([path.name]))
    else:
        raise ImageError(f"No file or folder '{source}'.")


def _stem(source: str) -> str:
    return source.rstrip("/").rpartition("/")[2].rpartition(".")[0]


def _archive(source: str, column: str | None) -> Iterator[Group]:
    del column
    names, starts, sizes = list[str](), array("q"), array("q")
    for name, start, size in members_of(source, IMAGE_SUFFIXES):
        names.append(f"{_stem(source)}/{name}")
        starts.append(start)
        sizes.append(size)
    yield Group(Archive(source, np.array(starts), np.array(sizes)), Keys(names))


def _list(source: str, column: str | None) -> Iterator[Group]:
    del column
    try:
        content = (
            fetch(source, source, _MOST_LIST_BYTES)
            if is_remote(source)
            else read_bytes(Path(local_path(source)), _MOST_LIST_BYTES)
        )
        lines = content.decode().splitlines()
    except (ArtifactError, UnicodeDecodeError) as error:
        raise ImageError(f"'{source}' is not a list of paths: {error}") from error
    yield _named(source, filter(None, map(str.strip, lines)))


def _named(source: str, names: Iterable[str]) -> Group:
    """Return images that are named in a file: their names count from its folder."""
    folder, keys = source.rpartition("/")[0], Keys(names)
    far = is_remote(source) or any(map(is_remote, keys))
    return Group(Files(folder, readers=REMOTE_READERS if far else 1), keys)


def _table(source: str, column: str | None) -> Iterator[Group]:
    file = open_table(source)
    field = field_of(file, source, column)
    if str(field.type) in ("string", "large_string"):
        yield _named(source, column_of_text(file, field.name))
        return
    table = Table(source, field.name)
    yield Group(table, Keys(f"{_stem(source)}/{row}" for row in range(table.rows)))


def _hdf5(source: str, column: str | None) -> Iterator[Group]:
    data = Hdf5(source, column)
    yield Group(data, Keys(f"{_stem(source)}/{row}" for row in range(data.rows)))


_KINDS: dict[tuple[str, ...], Callable[[str, str | None], Iterator[Group]]] = {
    TAR_SUFFIXES: _archive,
    LIST_SUFFIXES: _list,
    TABLE_SUFFIXES: _table,
    HDF5_SUFFIXES: _hdf5,
}
"""The kinds of files that hold images or name them, by their suffixes."""


def _remote_files(source: str, *, several: bool) -> Group:
    """Return the images in a folder elsewhere and below, those that match a pattern, or the one."""
    if source.lower().endswith(IMAGE_SUFFIXES) and not _MAGIC.search(source):
        folder, _, name = source.rpartition("/")
        return Group(Files(folder, readers=REMOTE_READERS), Keys([name]))
    files, path = connect(source)
    fixed = source.rstrip("/")
    with reaching(source):
        if _MAGIC.search(path):
            head = _MAGIC.split(path)[0].rpartition("/")[0]
            fixed, found = _MAGIC.split(source)[0].rpartition("/")[0], files.glob(path)
            path = head
        else:
            found = files.find(path)
    start = f"{fixed.rpartition('/')[2]}/" if several else ""
    names = (each[len(path.rstrip("/")) + 1 :] for each in found)
    images = (name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not _is_hidden(name))
    return Group(
        Files(fixed, len(start), REMOTE_READERS), Keys(start + name for name in sorted(images, key=_as_walked))
    )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _as_walked(name: str) -> list[tuple[bool, str]]:
    """Order names as :func:`_walk` does: the files of a folder before the folders in it."""
    *folders, last = name.split("/")
    return [*((True, folder) for folder in folders), (False, last)]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield what is called an image in a folder and below, sorted, without hidden ones; each folder once.

    Links that lead nowhere, pipes and the like are among them: they fail when they are read, and have their row.

    Raises:
        ImageError: A folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listed:
                entries = sorted((each for each in listed if not each.name.startswith(".")), key=_name_of)
            folders = [each.name for each in entries if _is_folder(each)]
        except OSError as error:
            raise ImageError(f"Cannot read the folder '{place}': {error.strerror}.") from error
        names = {each.name for each in entries if each.name.lower().endswith(IMAGE_SUFFIXES)} - set(folders)
        yield from (place / each.name for each in entries if each.name in names)
        waiting += [place / name for name in reversed(folders)]


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def require_apart(sources: Sequence[str], output: str) -> None:
    """Check that a data set is not written into a folder that is read.

    Raises:
        UsageError: It would be.
    """
    if is_remote(output):
        inside = [each for each in sources if f"{output}/".startswith(f"{each.rstrip('/')}/")]
    else:
        target = Path(local_path(output)).absolute()
        folders = ((each, Path(local_path(each)).absolute()) for each in sources if not is_remote(each))
        inside = [each for each, folder in folders if is_folder(folder) and target.is_relative_to(folder)]
    if inside:
        raise UsageError(f"The data set would lie within the images '{inside[0]}'. Choose another folder.")
