"""The gate: our own code reads and checks every model file before an engine, which verifies little, gets it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple
from weakref import ref

from fmedge.errors import ArtifactError, LimitExceeded, printable
from fmedge.model.artifact import MAX_MODEL_BYTES, Artifact
from fmedge.model.card import ModelCard, TensorSpec
from fmedge.model.submodel import Format
from fmedge.runtime.gate.bounds import Declared, ModelFacts
from fmedge.runtime.gate.relu_count import wrong_rectifiers
from fmedge.system.memory import require_memory


class Gate(NamedTuple):
    """The reader of a format: a row of the table.

    Attributes:
        module: The module that reads the format, imported on first use.
        function: Its function, which takes the content of the files and returns :class:`ModelFacts`.
        files: How many files a model of the format consists of.
    """

    module: str
    function: str
    files: int = 1


GATES: Mapping[Format, Gate] = {
    Format.ONNX: Gate("fmedge.runtime.gate.onnx_reader", "inspect_onnx"),
    Format.TFLITE: Gate("fmedge.runtime.gate.tflite_reader", "inspect_tflite"),
    Format.NCNN: Gate("fmedge.runtime.gate.ncnn_reader", "inspect_ncnn", files=2),
    Format.NATIVE: Gate("fmedge.runtime.gate.native_reader", "inspect_native"),
}
"""The reader of each format."""


def inspect_model(path: Path, model_format: Format, *contents: bytes) -> ModelFacts:
    """Check a model file and read what it declares.

    Args:
        path: Its name, for error messages; nothing is opened.
        model_format: The format that it must have.
        contents: Content of the file, and of further files that belong to it: the very bytes that an engine will get.

    Returns:
        What the reader found: inputs, outputs, the card's facts in the file and what a run takes.

    Raises:
        ArtifactError: It is malformed, or contains something that fmedge does not run.
        LimitExceeded: It exceeds a limit.
    """
    gate = GATES[model_format]
    for content in contents[: gate.files]:
        if len(content) > MAX_MODEL_BYTES:
            raise LimitExceeded(f"'{path}' has {len(content):,} bytes. Allowed: {MAX_MODEL_BYTES:,}.")
    inspect: Callable[..., ModelFacts] = getattr(importlib.import_module(gate.module), gate.function)
    try:
        return inspect(*contents[: gate.files])
    except (ArtifactError, LimitExceeded) as error:
        raise _named(path, error) from error


def _named(path: Path, error: ArtifactError | LimitExceeded) -> ArtifactError | LimitExceeded:
    """Return a reader's error with the file's name before its message."""
    return type(error)(f"'{_short(path)}': {_one_line(str(error))}", hint=error.hint, flags=error.flags)


def require_artifact(artifact: Artifact) -> ModelFacts:
    """Check a model before it is run.

    Returns:
        What was read from it.

    Raises:
        ArtifactError: See :func:`require_own_card`; or a run gives something other than the card says.
        LimitExceeded: See :func:`inspect_model`; or a run takes more memory than is available.
    """
    global _last
    if _last is not None and _last[0]() is artifact:
        return _last[1]
    facts = require_own_card(artifact)
    _require_run(artifact, facts)
    _last = ref(artifact), facts
    return facts


_last: tuple[ref[Artifact], ModelFacts] | None = None
"""The last artifact that passed, and its facts: an artifact is checked both before it is opened and when it is."""


def require_own_card(artifact: Artifact) -> ModelFacts:
    """Check a model, and that its inputs, its outputs, the ReLUs between them and its facts agree with its card.

    Returns:
        What was read from it.

    Raises:
        ArtifactError: See :func:`inspect_model`; or they do not agree.
        LimitExceeded: See :func:`inspect_model`.
    """
    card = artifact.card
    facts = inspect_model(artifact.path, card.format, artifact.model, artifact.weights)
    batch = card.options.batch
    if not (_agree(facts.inputs, card.inputs, batch) and _agree(facts.outputs, card.outputs, batch)):
        raise ArtifactError(
            f"'{_short(artifact.path)}' has inputs or outputs other than its card says.",
            hint="Export it again: fmedge export.",
        )
    wrong = wrong_rectifiers(card.submodel, facts.ways) or _other_facts(facts, card)
    if wrong:
        raise ArtifactError(f"'{_short(artifact.path)}' has {wrong}.", hint="Export it again: fmedge export.")
    return facts


def _other_facts(facts: ModelFacts, card: ModelCard) -> str:
    """Describe where the card differs from the facts in the file; empty where it does not."""
    if facts.facts_json in (None, card.facts_json()):
        return ""
    inside, beside = (asdict(each.facts()) for each in (ModelCard.from_json(facts.facts_json or ""), card))
    others = [name for name, value in inside.items() if value != beside[name]]
    return f"facts inside that differ from its card: {', '.join(others)}" if others else ""


def _require_run(artifact: Artifact, facts: ModelFacts) -> None:
    """Check that a run on the card's images needs no more memory than is available, and gives what the card says.

    Raises:
        ArtifactError: It gives something else.
        LimitExceeded: It needs more.
    """
    card, image = artifact.card, artifact.card.image_shape()
    try:
        needs = facts.needs(image)
    except (ArtifactError, LimitExceeded) as error:
        raise _named(artifact.path, error) from error
    require_memory(f"A run of '{_short(artifact.path)}'", needs.memory)
    for spec in card.outputs:
        found = needs.shapes[spec.name]
        wanted: Sequence[int | None] = (image[0], *spec.shape[1:])
        if card.submodel.stock is not None:
            extents = dict(
                zip("CHW", card.submodel.stock.find(spec.name).output_shape(*image[1:3]), strict=True), N=image[0]
            )
            wanted = [extents[axis] for axis in spec.layout]
        if len(found) != len(wanted) or any(want not in (None, got) for want, got in zip(wanted, found, strict=True)):
            raise ArtifactError(
                f"'{_short(artifact.path)}' computes {' x '.join(map(str, found))} for '{spec.name}'; its card says "
                f"{spec.describe()}.",
                hint="Export it again: fmedge export.",
            )


def _agree(found: Sequence[Declared], wanted: Sequence[TensorSpec], batch: int | None) -> bool:
    """Return whether a file declares the same as its card, as far as its format states it."""
    specs = {spec.name: spec for spec in wanted}

    def same(one: Declared, spec: TensorSpec) -> bool:
        shape = (batch, *one.shape) if one.shape is not None and one.one_image else one.shape
        return one.dtype in ("", spec.dtype) and shape in (None, spec.shape)

    return len(found) == len(wanted) and all(one.name in specs and same(one, specs[one.name]) for one in found)


def read_facts(path: Path, model_format: Format, *contents: bytes) -> ModelCard:
    """Read the card that is stored inside a model file: all of it but the file's hash and the parity.

    Args:
        path: As in :func:`inspect_model`.
        model_format: As in :func:`inspect_model`.
        contents: As in :func:`inspect_model`.

    Raises:
        ArtifactError: See :func:`inspect_model`; or fmedge did not write the file, or the facts make no sense.
        LimitExceeded: See :func:`inspect_model`.
    """
    text = inspect_model(path, model_format, *contents).facts_json
    if text is None:
        raise ArtifactError(
            f"'{_short(path)}' has no card beside it and no fmedge facts inside, so its input is unknown.",
            hint="Make a model: fmedge export.",
        )
    card = ModelCard.from_json(text).facts()
    if card.format is not model_format:
        raise ArtifactError(
            f"'{_short(path)}' says inside that its format is {card.format}.", hint="Export it again: fmedge export."
        )
    return card


def _one_line(text: str) -> str:
    """Return a message as one printable line with quotes shortened: names in a file may contain anything."""
    return re.sub(r"'([^']{40})[^']+'", r"'\1…'", printable(text))


_LONGEST_PATH = 60


def _short(path: Path) -> str:
    """Shorten a path for a message of one line."""
    text = str(path)
    return text if len(text) <= _LONGEST_PATH else f"…{text[1 - _LONGEST_PATH :]}"
