"""The result of a run: an array, and what produced it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from typing import IO, Any, Self, get_type_hints

import numpy as np
import numpy.typing as npt

from fmedge.errors import ArtifactError, BackendUnavailable, UsageError, printable
from fmedge.model.card import ModelCard
from fmedge.model.submodel import require_channel
from fmedge.system import serde
from fmedge.system.choices import find_path
from fmedge.system.files import replacing
from fmedge.system.memory import require_memory
from fmedge.system.reading import open_regular

FloatArray = npt.NDArray[np.float32]

MAX_ARCHIVE_BYTES = 1 << 31
"""Most bytes that an archive of maps may hold, unpacked: the maps of a photo of 12 megapixels at block1_conv1."""

_MEMBERS = ("maps", "layer", "card", "run", "pixels")
"""What is read of an archive."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where feature maps come from.

    Attributes:
        card: Facts of the model that computed them.
        image_name: File name of the image, without its folder.
        image_size: Height and width of the image as decoded, in pixels, before it was resized.
        resize: How it was resized to the model's input size: ``nearest``, ``bilinear`` or ``bicubic``.
        backend: The engine, such as ``onnxruntime``.
        active_provider: The part of the engine that computed, such as ``CPUExecutionProvider``.
        threads: CPU threads the engine was given.
        device: The device that was requested.
        math: Arithmetic: ``fp32`` or ``bf16``; ``wide int8`` for an int8 model on x86 without VNNI.
        placement: Where the engine ran which nodes, such as ``13/13 Conv on CPUExecutionProvider``; also reports when a
            part of the model does not run on the device.
    """

    card: ModelCard
    image_name: str
    image_size: tuple[int, int]
    resize: str
    backend: str
    active_provider: str
    threads: int
    device: str = "cpu"
    math: str = "fp32"
    placement: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what is known of the run, without the card, as JSON can hold it."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name != "card"}


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """Feature maps of one layer: an array for NumPy (``numpy.asarray(maps)``), and what made it.

    Two are equal where layer, provenance, maps and pixels are; NaN equals NaN. They cannot be hashed.

    Attributes:
        maps: Float32, (N, C, H, W): images, channels, rows, columns; row 0 is the top.
        layer: Keras' name of the layer.
        provenance: What produced them.
        pixels: The images as the model received them: uint8, (N, height, width, 3), RGB.
    """

    maps: FloatArray
    layer: str
    provenance: Provenance
    pixels: npt.NDArray[np.uint8] = field(repr=False)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The maps, (N, C, H, W): themselves where neither another type nor a copy is asked for."""
        return np.asarray(self.maps, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"FeatureMaps({self.layer!r}, {self.shape}, {self.maps.dtype}, {self.provenance.image_name!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureMaps):
            return NotImplemented
        return (
            (self.layer, self.provenance) == (other.layer, other.provenance)
            and np.array_equal(self.maps, other.maps, equal_nan=True)
            and np.array_equal(self.pixels, other.pixels)
        )

    def _repr_html_(self) -> str:
        """A table of the facts and statistics, and the first channels of the first image, for notebooks."""
        from fmedge.data.notebook import write_html

        ran, card = self.provenance, self.provenance.card
        facts = {
            "layer": f"{self.layer} ({self.shown})",
            "shape": f"{' x '.join(map(str, self.shape))}, {self.maps.dtype}",
            "image": f"{ran.image_name}, {ran.image_size[0]} x {ran.image_size[1]}",
            "weights": card.describe_weights(),
            "model": f"{card.format} {card.precision}",
            "computed by": f"{ran.backend}, {ran.active_provider}",
        }
        return write_html(facts if len(self.maps) == 1 else {**facts, "shown": "the first image"}, self.maps[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the maps: (N, C, H, W)."""
        return self.maps.shape

    @property
    def activation(self) -> str:
        """``relu`` for the layer's own output, or ``none`` for the values before its activation."""
        return self.provenance.card.activation

    @property
    def function(self) -> str:
        """The layer's activation, whether the maps are before or after it; see :mod:`fmedge.model.activations`."""
        return self.provenance.card.function_of(self.layer)

    @property
    def shown(self) -> str:
        """What the maps show, in a word: :attr:`function`, or ``none`` for the values before it."""
        return self.provenance.card.shown(self.layer)

    def channel(self, index: int) -> FloatArray:
        """Return one channel of the first image: float32, (H, W), a view.

        Raises:
            UsageError: There is no channel of that number.
        """
        self.require_channel(index)
        return self.maps[0, index]

    def require_channel(self, index: int) -> None:
        """Check that a channel of that number exists, counted from 0.

        Raises:
            UsageError: It does not.
        """
        require_channel(self.layer, self.maps.shape[1], index)

    def to_xarray(self) -> Any:  # noqa: ANN401 - xarray is not needed to check types
        """The maps as an ``xarray.DataArray`` with the dimensions image, channel, row and column; not copied.

        Its name is the layer's, its attributes are the facts of the run.

        Raises:
            BackendUnavailable: The xarray package is not installed.
        """
        import importlib

        try:
            xarray = importlib.import_module("xarray")
        except ImportError as error:
            raise BackendUnavailable("xarray is not installed.", hint="Install it: pip install xarray.") from error
        facts = {"activation": self.shown, **self.provenance.facts()}
        return xarray.DataArray(self.maps, dims=("image", "channel", "row", "column"), name=self.layer, attrs=facts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the first image's maps as a NumPy archive, atomically.

        The archive holds ``maps`` (float32, (C, H, W)), ``layer``, ``activation`` (its name, or ``none`` for the
        values before it), ``card`` and ``run`` (JSON texts) and ``pixels`` (uint8, (height, width, 3), RGB).
        None of them is a pickle: read it with :meth:`load`, or with ``numpy.load(path)``.

        Args:
            path: The file to write; its suffix is not changed.

        Raises:
            WriteError: The file cannot be written.
        """
        facts = {**self.provenance.facts(), "image_name": printable(self.provenance.image_name)}
        with replacing(find_path("path", path), _is_archive) as stream:
            np.savez(
                stream,
                maps=self.maps[0],
                layer=np.array(self.layer),
                activation=np.array(self.shown),
                card=np.array(self.provenance.card.to_json()),
                run=np.array(json.dumps(facts)),
                pixels=self.pixels[0],
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an archive that :meth:`save` wrote. Nothing in it is run.

        Args:
            path: The file.

        Returns:
            The maps of one image, (1, C, H, W), and what made them.

        Raises:
            UsageError: The file is missing, damaged, something else, or was saved by a version that did not keep the
                facts of the run.
        """
        from zipfile import BadZipFile
        from zlib import error as ZlibError  # noqa: N812

        file = find_path("path", path)
        try:
            with open_regular(file) as stream:
                members = _members(stream)
                return cls._from_members(members)
        except OSError as error:
            raise UsageError(f"Cannot read '{file}': {error.strerror or error}.") from error
        except ArtifactError as error:
            raise UsageError(f"'{file}': {error}") from error
        except (
            BadZipFile,
            ZlibError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            RecursionError,
            NotImplementedError,
        ) as error:
            raise UsageError(
                f"'{file}' cannot be read as feature maps ({serde.reason(error)}).",
                hint="Make them again: fmedge run --save-maps.",
            ) from error

    @classmethod
    def _from_members(cls, members: dict[str, npt.NDArray[Any]]) -> Self:
        maps, pixels = members["maps"], members["pixels"]
        if maps.dtype != np.float32 or maps.ndim != 3 or 0 in maps.shape:
            raise ValueError(f"maps are {maps.dtype} with {maps.ndim} dimensions")
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"pixels are {pixels.dtype} with {pixels.ndim} dimensions")
        card = ModelCard.from_json(str(members["card"]))
        layer = str(members["layer"])
        if layer not in card.submodel.taps:
            raise ValueError("its card does not name its layer")
        found = serde.require_kind(dict, serde.parse(str(members["run"])))
        kinds = get_type_hints(Provenance)
        facts = {name: serde.build(kinds[name], value, name) for name, value in found.items() if name != "card"}
        return cls(maps[np.newaxis], layer, Provenance(card=card, **facts), pixels[np.newaxis])


def _members(stream: IO[bytes]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive.

    Raises:
        ValueError: They are larger than allowed, or pickles.
        BadZipFile: It is no archive.
    """
    import zipfile

    with zipfile.ZipFile(stream) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > MAX_ARCHIVE_BYTES:
        raise ValueError(f"{total:,} bytes, at most {MAX_ARCHIVE_BYTES:,} allowed")
    require_memory("Reading the maps", total)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as archive:
        for name in _MEMBERS:
            if name not in archive:
                raise ValueError(f"'{name}' is missing")
        return {name: archive[name] for name in _MEMBERS}


def _is_archive(stream: IO[bytes]) -> bool:
    """Return whether every member of a NumPy archive still has the checksum computed when it was written."""
    import zipfile  # NumPy imports it to write one

    try:
        with zipfile.ZipFile(stream) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False
