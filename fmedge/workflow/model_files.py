"""Reading a model file that is named by its path, with a card next to it or with the facts inside it alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fmedge.errors import ArtifactError
from fmedge.model.artifact import Artifact, card_path, files_sha256, read_artifact, read_files, require_model_file
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Format, format_of
from fmedge.system.files import is_file


def open_model(path: Path) -> Artifact:
    """Read a model file and its card; if there is no card, the facts inside the file serve as one.

    Args:
        path: The model file.

    Returns:
        The artifact. Apart from the hash, what the card says about the file is not checked here.

    Raises:
        ArtifactError: The file is missing, damaged, not the card's, or not written by fmedge.
        LimitExceeded: The file exceeds one of the limits on its size.
    """
    if is_file(card_path(path)) or not is_file(path):
        return read_artifact(path)
    from fmedge.runtime.gate.checks import read_facts

    require_model_file(path)
    kind = format_of(path.name)
    if kind is None:
        suffixes = ", ".join(kind.suffixes[0] for kind in Format)
        raise ArtifactError(f"Unknown model format: '{path}'. Allowed: a name that ends in {suffixes}.")
    model, weights = read_files(path, kind)
    card = read_facts(path, kind, model, weights)
    return Artifact(path, replace(card, file_sha256=files_sha256(model, weights)), model, weights)


def describe_model(path: Path) -> tuple[ModelCard, bool]:
    """Describe a model file.

    Args:
        path: The file; if there is no card next to it, the facts inside it are read.

    Returns:
        The card, and whether there is one next to the file. If so, it matches the file's hash and facts.

    Raises:
        ArtifactError: The file is missing, damaged, not the card's, or not written by fmedge.
    """
    from fmedge.runtime.gate.checks import require_own_card

    artifact = open_model(path)
    require_own_card(artifact)
    card = artifact.card
    return (card, True) if is_file(card_path(path)) else (card.facts(), False)
