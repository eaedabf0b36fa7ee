"""Read convolution weights from a Keras HDF5 file: arrays and nothing else.

HDF5 can point outside the file (external links, external storage, virtual data sets), point in circles, and declare
sizes that it does not hold. So every link and data set on the way is checked before a value is read: only hard links,
inside the file, exactly the layer's shape and type, and only filters built into the library. The model's configuration
is never read, so nothing in it can run. HDF5 unpacks chunks whole, however large they become, so chunks are checked,
too.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from fmedge.errors import WeightsError
from fmedge.model.stock import KERNEL_SIZE, STOCK, VGG16, LayerSpec, StockTable

_PLACES = ("{layer}", "model_weights/{layer}", "layers/{layer}", "layers/{numbered}")
"""Where a layer's group is: in weights files, in whole .h5 models, and in Keras 3's ``.weights.h5``, which numbers the
convolutions instead of naming them: conv2d, conv2d_1, conv2d_2…"""

_DEPTH = 3
"""Levels below a layer's group: Keras writes ``layer/kernel``, ``layer/layer/kernel`` or ``layer/vars/0``."""

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
"""Filters built into HDF5; any other would load a plug-in."""

MAX_WEIGHTS_BYTES = 1 << 30
"""More than the weights of any network for the edge."""

_SMALL_BYTES = 1 << 20
"""Largest chunk that h5py chooses by itself; the chunk of a small array may be larger than the array."""

_LEAST_CHUNK_BYTES, _FEW_CHUNKS = 1 << 12, 64
"""Minimum size of chunks, unless they are few. HDF5 keeps a few hundred bytes for each while an array is read; h5py
chooses 8 KiB or more."""

_STORED_MORE = 1 << 10
"""Bytes that a stored chunk may exceed its own size by, besides a thousandth of it: deflate adds 5 to every 16 KiB (RFC
1951), a checksum 4."""

_MAX_ENTRIES = 16
"""Most entries accepted in one group; Keras writes two."""

FloatArray = npt.NDArray[np.float32]


def read_h5(
    path: Path, layers: tuple[LayerSpec, ...], stock: StockTable = STOCK[VGG16]
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Read kernel and bias of every convolution among the layers.

    Args:
        path: A Keras weights file or whole model, ``.h5``; it may end after any layer.
        layers: The layers wanted, from the first on.
        stock: The network that they belong to.

    Returns:
        Per convolution: kernel float32 (3, 3, in, out), and bias float32 (out,).

    Raises:
        WeightsError: It is not an HDF5 file, is damaged, holds other shapes or types, points outside itself, holds
            values that are not finite, belongs to another network, or lacks a layer; the message then names the
            deepest layer it can serve.
    """
    weights: dict[str, tuple[FloatArray, FloatArray]] = {}
    deepest: str | None = None
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WeightsError(f"'{path}' is not a regular file.")
        with h5py.File(path, "r", locking=False) as file:
            if _is_foreign(file, stock):
                raise WeightsError(
                    f"'{path}' holds weights of another network than {stock.title}.",
                    hint="Give another file with --weights, or name its network with --network.",
                )
            for spec in layers:
                if spec.kind == "conv":
                    group = _layer_group(file, spec.name, len(weights))
                    if group is None:
                        raise WeightsError(_lacking(path, spec, deepest, stock.title))
                    weights[spec.name] = _read_layer(group, spec, stock.title)
                deepest = spec.name
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        # h5py raises all of these on damaged files.
        raise WeightsError(
            f"'{path}' is not a readable Keras .h5 weights file.", hint="Give another with --weights."
        ) from error
    return weights


def _lacking(path: Path, spec: LayerSpec, deepest: str | None, title: str) -> str:
    if deepest is None:
        return f"'{path}' holds no {title} weights (no group '{spec.name}'). Give another file with --weights."
    return f"'{path}' lacks the weights of {spec.name}. Deepest layer it can serve: {deepest}."


def _child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return the member of that name, or None. Links that lead out of the group's file are refused."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise WeightsError(f"The weights file's entry '{group.name}/{name}' is a link, not data. Not followed.")
    member = group[name]
    return member if isinstance(member, h5py.Group | h5py.Dataset) else None


def _is_foreign(file: h5py.File, stock: StockTable) -> bool:
    """Tell whether the names in a file are those of another stock network; the first layers have the same shapes."""
    own = [spec.name for spec in stock.layers if spec.kind == "conv"]
    others = {spec.name for table in STOCK.values() for spec in table.layers if spec.kind == "conv"} - set(own)
    there = [_layer_group(file, name, position) is not None for position, name in enumerate(own)]
    more = any(_layer_group(file, name, len(own)) is not None for name in others)
    return more or there != sorted(there, reverse=True)


def _layer_group(file: h5py.File, layer: str, position: int) -> h5py.Group | None:
    """Return the group of a convolution; ``position`` is its number in the network, from 0."""
    numbered = f"conv2d_{position}" if position else "conv2d"
    for place in _PLACES:
        member: h5py.Group | h5py.Dataset | None = file
        for name in place.format(layer=layer, numbered=numbered).split("/"):
            member = _child(member, name) if isinstance(member, h5py.Group) else None
        if isinstance(member, h5py.Group):
            return member
    return None


def _datasets(group: h5py.Group, depth: int = _DEPTH) -> Iterator[h5py.Dataset]:
    if len(group) > _MAX_ENTRIES:
        raise WeightsError(
            f"The weights file's group '{group.name}' holds {len(group)} entries; at most {_MAX_ENTRIES} are allowed."
        )
    for name in group.keys():  # noqa: SIM118 - typed, unlike the group's own iterator
        member = _child(group, name)
        if isinstance(member, h5py.Dataset):
            require_inside(member)
            yield member
        elif isinstance(member, h5py.Group) and depth > 1:
            yield from _datasets(member, depth - 1)


def _read_layer(group: h5py.Group, spec: LayerSpec, title: str) -> tuple[FloatArray, FloatArray]:
    kernel_shape = (KERNEL_SIZE, KERNEL_SIZE, spec.in_channels, spec.channels)
    found = list(_datasets(group))
    if len(found) != 2:
        raise WeightsError(
            f"Layer {spec.name} holds {len(found)} arrays in the weights file; wanted: a kernel and a bias."
        )
    kernel, bias = sorted(found, key=lambda dataset: -len(dataset.shape or ()))
    return _read(kernel, kernel_shape, spec.name, title), _read(bias, (spec.channels,), spec.name, title)


def require_inside(dataset: h5py.Dataset) -> None:
    """Check that a data set's values lie in the file, before anything else of it is read.

    The shape of a virtual data set may come from its source: HDF5 would open that other file to read it.
    """
    properties = dataset.id.get_create_plist()
    if properties.get_external_count() or properties.get_layout() == h5py.h5d.VIRTUAL:
        raise WeightsError(f"The array '{dataset.name}' lies outside the weights file. Not followed.")


def require_bounded(dataset: h5py.Dataset) -> None:
    """Check that reading an array takes no more memory than its values, and loads nothing.

    Raises:
        WeightsError: Its values have no fixed size, it needs a plug-in, or its chunks unpack to more.
    """
    require_inside(dataset)
    if dataset.dtype.hasobject:
        raise WeightsError(f"The array '{dataset.name}' in the weights file holds no numbers. Save it as float32.")
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    if not _FILTERS.issuperset(filters):
        raise WeightsError(
            f"The array '{dataset.name}' in the weights file needs an HDF5 plug-in. Save it plain or with gzip."
        )
    if properties.get_layout() != h5py.h5d.CHUNKED:
        return
    chunks: tuple[int, ...] = properties.get_chunk()
    size = prod(chunks) * dataset.dtype.itemsize
    count = prod(ceil(extent / step) for extent, step in zip(dataset.shape, chunks, strict=True))
    odd = len(set(filters)) < len(filters) or h5py.h5z.FILTER_SHUFFLE in filters[1:]
    most = _FEW_CHUNKS + 2 * dataset.nbytes // _LEAST_CHUNK_BYTES
    if odd or count > most or size > max(dataset.nbytes, _SMALL_BYTES):
        raise WeightsError(f"The array '{dataset.name}' in the weights file is stored in odd chunks. Save it plain.")
    if filters:
        _require_packed(dataset, size, filters)


def _require_packed(dataset: h5py.Dataset, size: int, filters: list[int]) -> None:
    """Check that each chunk of an array unpacks to its own size."""
    at = filters.index(h5py.h5z.FILTER_DEFLATE) if h5py.h5z.FILTER_DEFLATE in filters else None

    def is_larger(chunk: h5py.h5d.StoreInfo) -> bool | None:
        if chunk.size > size + size // 1000 + _STORED_MORE:
            return True
        if at is None or chunk.filter_mask >> at & 1:
            return None
        _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
        most = size + _STORED_MORE
        return len(zlib.decompressobj().decompress(packed, most + 1)) > most or None

    if dataset.id.chunk_iter(is_larger):
        raise WeightsError(
            f"A chunk of '{dataset.name}' in the weights file unpacks to more than it should. Save it anew."
        )


def _read(dataset: h5py.Dataset, shape: tuple[int, ...], layer: str, title: str) -> FloatArray:
    if dataset.shape != shape:
        raise WeightsError(f"An array of {layer} in the weights file has shape {dataset.shape}; {title} has {shape}.")
    if dataset.dtype != np.float32:
        raise WeightsError(f"An array of {layer} in the weights file is {dataset.dtype}; wanted: float32.")
    require_bounded(dataset)
    values = np.ascontiguousarray(dataset[()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(f"An array of {layer} in the weights file holds NaN or infinite values.")
    return values
