"""Choose weights, find them and read them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from fmedge.errors import LimitExceeded, UsageError, WeightsError
from fmedge.model.card import WeightsFacts
from fmedge.model.stock import STOCK, VGG16, LayerSpec, OfficialFile
from fmedge.system.choices import StrPath
from fmedge.system.files import is_file
from fmedge.system.progress import Progress, no_progress
from fmedge.system.reading import digest

MAX_FILE_BYTES = (1 << 30) + (1 << 27)
"""Largest file that is hashed and read: 1 GiB of weights, and what is stored with them."""

UNTRAINED_SEED = 0

Weights = Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Per convolution: kernel (3, 3, in, out), BGR input, and bias (out,)."""


@dataclass(frozen=True, slots=True)
class WeightsChoice:
    """The requested weights, as far as they can be identified without the network.

    Attributes:
        facts: Their identity; the hash of the official file stays open until it is read.
        path: The file; None for untrained weights and for an official file not found yet.
        network: If the file holds only weights: which network of ``keras.applications`` they are of.
    """

    facts: WeightsFacts
    path: Path | None
    network: str | None = None

    @property
    def token(self) -> str:
        """The word that these weights add to an artifact's name; empty for the official ones."""
        if self.facts.kind in ("file", "keras", "onnx"):
            return f"{self.facts.kind[0].replace('f', 'w')}-{(self.facts.sha256 or '')[:8]}"
        return "" if self.facts.kind == "imagenet" else self.facts.kind

    def matches(self, facts: WeightsFacts) -> bool:
        """Return whether a model with these facts holds the requested weights."""
        if self.facts.kind == "imagenet":
            return facts.kind == "imagenet"
        return facts == self.facts


UNTRAINED = WeightsChoice(WeightsFacts("untrained", None, f"He normal, biases zero, seed {UNTRAINED_SEED}"), None)


def choose_weights(
    wish: StrPath | None = None, sha256: Callable[[], str] | None = None, *, source: str = VGG16
) -> WeightsChoice:
    """Determine which weights of a stock network are meant; nothing is downloaded.

    Args:
        wish: ``imagenet``, ``untrained``, or the path of a Keras .h5 file. None takes the environment variable
            ``FMEDGE_WEIGHTS``, or ``imagenet`` where it is not set.
        sha256: Gives the hash of the file, if it is being computed already; None computes it here.
        source: The stock network.

    Returns:
        The weights; a file that turns out to be Keras' official one counts as ``imagenet``.

    Raises:
        UsageError: It is neither one of the words nor a path.
        WeightsError: A path was given and there is no such file.
    """
    wish = _as_text(wish or os.environ.get("FMEDGE_WEIGHTS") or "imagenet")
    if wish == "imagenet":
        return WeightsChoice(WeightsFacts("imagenet", None), None)
    if wish == "untrained":
        return UNTRAINED
    path = Path(wish)
    if wish.startswith("~"):  # from the environment: no shell has expanded it
        path = Path(os.path.expanduser(wish))  # noqa: PTH111 - Path's own raises for an unknown user
    _require_file(path)
    kind = "imagenet" if _is_official(path, STOCK[source].weights) else "file"
    return WeightsChoice(WeightsFacts(kind, sha256() if sha256 else digest(path, "sha256")), path)


def _as_text(wish: object) -> str:
    if not isinstance(wish, (str, os.PathLike)):
        raise UsageError(f"weights: got {wish!r}. Allowed: imagenet, untrained, or the path of a Keras .h5 file.")
    return os.fspath(cast("os.PathLike[str]", wish))


def choose_keras_file(path: Path, network: str | None = None) -> WeightsChoice:
    """Take a Keras model of the user's own, ``.keras`` or ``.h5``, as the weights.

    Args:
        path: The file.
        network: If it holds only weights: which network of ``keras.applications`` they are of.

    Raises:
        WeightsError: There is no such file.
    """
    _require_file(path, "weights file" if network else "Keras model", "a .keras or .h5 file")
    return WeightsChoice(WeightsFacts("keras", digest(path, "sha256")), path, network)


def choose_onnx_file(path: Path) -> WeightsChoice:
    """Take an ONNX network of the user's own as the weights.

    Raises:
        WeightsError: There is no such file.
    """
    _require_file(path, "ONNX model", "an .onnx file")
    return WeightsChoice(WeightsFacts("onnx", digest(path, "sha256")), path)


def load_weights(
    choice: WeightsChoice,
    deepest: str,
    *,
    source: str = VGG16,
    offline: bool = False,
    progress: Progress = no_progress,
) -> tuple[Weights, WeightsFacts]:
    """Read the weights of all convolutions of a stock network up to a layer; download the official file if needed.

    Args:
        choice: From :func:`choose_weights`.
        deepest: The last layer that is needed.
        source: The stock network.
        offline: Never use the network.
        progress: Called with the progress of a download.

    Returns:
        The arrays, and the weights' identity with its hash.

    Raises:
        WeightsError: The file is missing and cannot be downloaded, is damaged, or lacks a layer.
    """
    stock = STOCK[source]
    layers = stock.through(deepest)
    if choice.facts.kind == "untrained":
        return _untrained(layers), choice.facts
    from fmedge.model.h5_weights import read_h5  # only an export needs h5py

    path = choice.path or _official_file(stock.weights, offline, progress)
    facts = choice.facts if choice.facts.sha256 else WeightsFacts("imagenet", digest(path, "sha256"))
    return read_h5(path, layers, stock), facts


def _untrained(layers: tuple[LayerSpec, ...]) -> Weights:
    """Draw He-normal kernels, standard deviation sqrt(2 / (9 * in)) (He et al. 2015, equation 10)."""
    generator = np.random.default_rng(UNTRAINED_SEED)
    weights: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {}
    for spec in layers:
        if spec.kind == "conv":
            kernel = generator.standard_normal((3, 3, spec.in_channels, spec.channels), dtype=np.float32)
            kernel *= np.float32(np.sqrt(2 / (9 * spec.in_channels)))
            weights[spec.name] = kernel, np.zeros(spec.channels, np.float32)
    return weights


def cache_folder() -> Path:
    """Return the folder where a download is kept: the user's cache, or a temporary folder of the user if there is none.

    Raises:
        WeightsError: There is neither.
    """
    import platformdirs  # needed only where no weights file was named

    with contextlib.suppress(RuntimeError):  # HOME is not set, and the user has no entry in passwd
        folder = Path(platformdirs.user_cache_dir("fmedge", appauthor=False))
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if os.access(there, os.W_OK) or (folder / "weights").is_dir():  # HOME=/ is what containers give such users
            return folder / "weights"
    return _private_temporary_folder() / "weights"


def _private_temporary_folder() -> Path:
    """Return ``fmedge-UID`` in the temporary folder, which only this user may write to."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    try:
        folder = Path(tempfile.gettempdir()) / f"fmedge-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        private = os.name != "posix" or (status.st_uid == user and not status.st_mode & 0o022)
    except OSError as error:
        raise WeightsError("No folder for weights can be written. Name one: XDG_CACHE_HOME=FOLDER.") from error
    if not private or not stat.S_ISDIR(status.st_mode):
        raise WeightsError(f"'{folder}' is not this user's alone. Name another: XDG_CACHE_HOME=FOLDER.")
    return folder


def _keras_folders() -> list[Path]:
    home = os.environ.get("KERAS_HOME")
    with contextlib.suppress(RuntimeError):  # no home
        return [(Path(home) if home else Path.home() / ".keras") / "models"]
    return []


def _official_file(file: OfficialFile, offline: bool, progress: Progress) -> Path:
    """Return the official file: from fmedge's cache, otherwise from Keras' cache, otherwise downloaded."""
    target = cache_folder() / file.name
    for path in (target, *(folder / file.name for folder in _keras_folders())):
        if is_file(path) and _is_official(path, file):
            return path
    mend = f"Get {file.url} (MD5 {file.md5}) elsewhere and give it as --weights."
    if offline:
        raise WeightsError("No ImageNet weights here, and offline.", hint=mend, flags=("--offline",))
    from fmedge.model.download import download  # loading urllib takes longer than a run

    try:
        download(file.url, target, md5=file.md5, max_bytes=file.size_bytes, progress=progress)
    except WeightsError as error:
        raise WeightsError(str(error), hint=mend) from error
    return target


def _is_official(path: Path, file: OfficialFile) -> bool:
    return path.stat().st_size == file.size_bytes and digest(path, "md5") == file.md5


def _require_file(
    path: Path, what: str = "weights file", allowed: str = "a Keras .h5 file, imagenet, untrained"
) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise WeightsError(f"No {what} '{path}'. Allowed: {allowed}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"'{path}' is not a regular file. Allowed: {allowed}.")
    if status.st_size > MAX_FILE_BYTES:
        raise LimitExceeded(f"'{path}' has {status.st_size:,} bytes. Allowed: {MAX_FILE_BYTES:,}.")
