"""Read and write artifacts: a model file, or a pair of them, with the card next to it.

The card is the commit record: it is removed first, renamed last, and holds the hash of the model file. A model without
a matching card counts as absent. ncnn's model is two files, a graph and its weights: the artifact has the name of the
graph, and the hash covers both files, one after the other.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmedge.errors import ArtifactError
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Format
from fmedge.system import files, reading
from fmedge.system.choices import find_path
from fmedge.system.temp_files import turn

MAX_CARD_BYTES = 1 << 20
"""A card has about 2 kB; anything larger than this is not a card."""

MAX_MODEL_BYTES = 1 << 30
"""VGG16 without its top has 59 MB of float32 weights; a user's own network may have more."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Artifact:
    """A model file that was read and matches its card.

    Two are equal where path and card are: the card holds the hash of the bytes.

    Attributes:
        path: Path of the model file.
        card: Its card.
        model: The model file's bytes: the very ones that were hashed.
        weights: The bytes of the second file, where the format has one: ncnn's ``.bin``.
    """

    path: Path
    card: ModelCard
    model: bytes = field(repr=False, compare=False)
    weights: bytes = field(default=b"", repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Artifact({str(self.path)!r}, {self.card.submodel.label}, {self.card.precision}, {self.size:,} bytes)"

    @property
    def size(self) -> int:
        """Size of the model files together, in bytes."""
        return len(self.model) + len(self.weights)


def weights_path(model_path: Path, kind: Format) -> Path | None:
    """Return the path of a model's second file; None where its format has one file.

    Only the suffix is replaced, so a model file under any name has its second file next to it.
    """
    if len(kind.suffixes) == 1:
        return None
    return model_path.with_suffix(Path(kind.suffixes[1]).suffix)


def card_path(model_path: Path) -> Path:
    """Return the path of a model file's card: its name followed by ``.json``."""
    return model_path.with_name(model_path.name + ".json")


def artifact_paths(model_path: Path, kind: Format) -> list[Path]:
    """Return all files of an artifact: the model, its second file if the format has one, the card."""
    second = weights_path(model_path, kind)
    return [model_path, *([] if second is None else [second]), card_path(model_path)]


def write_artifact(model_path: Path, model: bytes, card: ModelCard, weights: bytes = b"") -> Artifact:
    """Write a model and its card so that a crash at any moment leaves a whole artifact or none.

    Args:
        model_path: Final name of the model file; its folder is created if missing.
        model: Content of the model file.
        card: Its card; the file's hash is filled in here.
        weights: Content of the second file, where the format has one.

    Returns:
        What was written.

    Raises:
        WriteError: The disk is full, the folder read-only, or the like.
    """
    complete = replace(card, file_sha256=files_sha256(model, weights))
    parts = {model_path: model}
    second = weights_path(model_path, card.format)
    if second is not None:
        parts[second] = weights
    files.create_folder(model_path.parent)
    files.write_record(card_path(model_path), complete.to_json().encode(), parts)
    return Artifact(model_path, complete, model, weights)


def files_sha256(model: bytes, weights: bytes = b"") -> str:
    """Return the hash of a model's files, one after the other."""
    digest = hashlib.sha256(model)
    digest.update(weights)
    return digest.hexdigest()


def read_card(model_path: Path) -> ModelCard:
    """Read the card next to a model file; the model itself is not read.

    Raises:
        ArtifactError: There is no card, or it cannot be read.
    """
    path = card_path(model_path)
    if not files.is_file(path):
        raise ArtifactError(f"No card '{path}' beside the model.", hint="Export again: fmedge export.")
    try:
        return ModelCard.from_json(reading.read_bytes(path, MAX_CARD_BYTES).decode())
    except UnicodeDecodeError as error:
        raise ArtifactError(f"The card '{path}' is not text.", hint="Export again: fmedge export.") from error


def require_model_file(path: Path) -> None:
    """Check that a model file exists, and that of a pair it is the one that names the artifact.

    Raises:
        ArtifactError: It is not.
    """
    if not files.is_file(path):
        raise ArtifactError(f"No model file '{path}'.", hint="Make one: fmedge export.")
    for first, second in (kind.suffixes for kind in Format if len(kind.suffixes) > 1):
        if path.name.endswith(second):
            raise ArtifactError(f"'{path}' holds only weights. Name the file beside it that ends in {first}.")


def read_files(model_path: Path, kind: Format) -> tuple[bytes, bytes]:
    """Read the content of a model's file and of its second file, which is empty where the format has none.

    Raises:
        ArtifactError: One is missing, cannot be read or is too large.
    """
    model = reading.read_bytes(model_path, MAX_MODEL_BYTES)
    second = weights_path(model_path, kind)
    weights = b""
    if second is not None:
        if second == model_path or not files.is_file(second):
            raise ArtifactError(
                f"No weights '{second.name}' beside '{model_path}'.", hint="Export again: fmedge export."
            )
        weights = reading.read_bytes(second, MAX_MODEL_BYTES)
    return model, weights


def read_artifact(model_path: str | os.PathLike[str]) -> Artifact:
    """Read a model file and check it against its card.

    Args:
        model_path: The model file, whose card lies beside it; of ncnn's pair the graph, ``.ncnn.param``.

    Raises:
        UsageError: ``model_path`` is not a path.
        ArtifactError: The model or card is missing or unreadable, or the model's hash differs from the one in the card.
    """
    model_path = find_path("model_path", model_path)
    require_model_file(model_path)
    with turn(model_path.parent, reading=True):
        card = read_card(model_path)
        model, weights = read_files(model_path, card.format)
    if files_sha256(model, weights) != card.file_sha256:
        which = f"'{model_path}' is not the file its card describes"
        second = weights_path(model_path, card.format)
        if second is not None:
            which = f"'{model_path}' or '{second.name}' is not what the card describes"
        raise ArtifactError(f"{which} (hash differs).", hint="Export again: fmedge export.")
    return Artifact(model_path, card, model, weights)
