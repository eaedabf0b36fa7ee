"""Reading the card's facts back out of a model file that stands alone."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmedge.artifact import MAX_MODEL_BYTES, ModelCard, require_model_file
from fmedge.errors import ArtifactError
from fmedge.files import read_bytes
from fmedge.submodel import Format, format_of

METADATA_KEY = "fmedge_card"
"""Name of the entry in ONNX' ``metadata_props`` and in TFLite's metadata that holds the facts as JSON; in ncnn's graph
the first word, behind a ``#``, of its last line."""


def read_facts(path: Path) -> ModelCard:
    """The card that stands inside a model file: all but the file's hash and the parity.

    Args:
        path: An ONNX or TFLite file, or ncnn's graph, that fmedge wrote, with or without its card.

    Raises:
        ArtifactError: The file is missing, of another kind, damaged, or not written by fmedge.
        BackendUnavailable: Reading TFLite needs LiteRT or TensorFlow.
    """
    require_model_file(path)
    content = read_bytes(path, MAX_MODEL_BYTES)
    read = _READERS.get(format_of(path.name), _onnx_facts)
    try:
        text = read(content)
    except (ValueError, TypeError, IndexError, AttributeError, struct.error) as error:
        raise ArtifactError(f"'{path}' cannot be read as a model. Export it again: fmedge export.") from error
    if text is None:
        raise ArtifactError(f"'{path}' holds no facts of fmedge, and has no card beside it. Export it: fmedge export.")
    return ModelCard.from_json(text)


def _onnx_facts(content: bytes) -> str | None:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)


def _tflite_facts(content: bytes) -> str | None:
    from fmedge.export.tflite_schema import schema

    model: Any = schema.Model.GetRootAs(content)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA_KEY.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    return None


def _ncnn_facts(content: bytes) -> str | None:
    last = content.decode("ascii").splitlines()[-1]
    mark, _, text = last.partition(" ")
    return text if mark == f"#{METADATA_KEY}" else None


_READERS: dict[Format | None, Callable[[bytes], str | None]] = {Format.TFLITE: _tflite_facts, Format.NCNN: _ncnn_facts}


def facts_json(card: ModelCard) -> str:
    """A card's facts as they stand in the file: JSON on one line, always in the same order."""
    return json.dumps(json.loads(card.facts().to_json()), sort_keys=True)
