"""Translate the error texts of engines into fmedge's own words.

Engines report a failure in many ways: places in their sources, whole graphs, several lines. A user can do only a few
things about it, so each row of the table says which, and quotes the part of the text that tells more.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple


class Mend(Enum):
    """What a user can do about a failure: the last sentence of a message."""

    SMALLER = "Give fewer or smaller images."
    THREADS = "Use --threads 1, or allow more processes (ulimit -u) or address space (ulimit -v)."
    EXPORT = "Export it again: fmedge export."
    UPDATE = "Update the engine, or export again: fmedge export."
    IMAGES = "To see what the model takes: fmedge info."
    DEVICE = "See fmedge doctor."


class EngineText(NamedTuple):
    """A row of the table: a text of an engine and its meaning.

    Attributes:
        engine: The engine that writes it; empty where several do.
        pattern: Regular expression, searched for anywhere in the text, ignoring case.
        words: What it means; ``{0}`` and so on are the pattern's groups.
        mend: What a user can do.
    """

    engine: str
    pattern: str
    words: str
    mend: Mend = Mend.EXPORT


_TYPES_DIFFER = "the types or shapes of its operators do not match"
_NOT_TAKEN = "the images do not match its input"

ENGINE_TEXTS: tuple[EngineText, ...] = (
    # Memory comes first: its message is often surrounded by other texts of this table.
    EngineText(
        "",
        r"bad_alloc|bad allocation|failed to allocate|out of memory|"
        r"CL_OUT_OF_\w+|CL_MEM_OBJECT_ALLOCATION_FAILURE|resource allocation failed|"
        r"CUDNN_STATUS_INTERNAL_ERROR\b.*\bcuda_stream_handle\.cc",  # cuDNN's word where it cannot even begin
        "not enough memory",
        Mend.SMALLER,
    ),
    EngineText("", r"Resource temporarily unavailable", "no more threads can be started", Mend.THREADS),
    EngineText("onnxruntime", r"no CUDA-capable device", "there is no NVIDIA GPU", Mend.DEVICE),
    EngineText(
        "onnxruntime",
        r"CUDA failure 3: initialization error",
        "CUDA does not start, as in a process that was forked after CUDA was used",
        Mend.DEVICE,
    ),
    EngineText("onnxruntime", r"install TensorRT libraries", "TensorRT's libraries are missing", Mend.DEVICE),
    EngineText(
        "onnxruntime",
        r"driver version is insufficient",
        "the NVIDIA driver is too old for this CUDA version",
        Mend.DEVICE,
    ),
    EngineText(
        "",
        r"([\w.+-]+\.so[.\d]*)\"?: cannot open shared object|([\w.+-]+\.dll)\" which is missing",
        "the library {0} is missing",
        Mend.DEVICE,
    ),
    EngineText(
        "onnxruntime", r"(CUDA|CUBLAS|CUDNN|CUFFT) failure \d+: ([^;\n]+?) *[;\n]", "{0} says: {1}", Mend.DEVICE
    ),
    EngineText("onnxruntime", r"assigned to the default CPU EP", "part of it would stay on the CPU", Mend.DEVICE),
    EngineText("onnxruntime", r"protobuf parsing failed|No graph was found", "it is damaged"),
    EngineText("onnxruntime", r"No Op registered for (\S+)", "the engine does not know the operator {0}", Mend.UPDATE),
    EngineText(
        "onnxruntime", r"No opset import for domain '([^']*)'", "it names no version for the operators of '{0}'"
    ),
    EngineText(
        "onnxruntime",
        r"Opset (\d+) is under development.* till opset (\d+)",
        "it uses opset {0}; the engine knows up to {1}",
        Mend.UPDATE,
    ),
    EngineText(
        "onnxruntime",
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "it uses ONNX format {0}; the engine knows up to {1}",
        Mend.UPDATE,
    ),
    EngineText(
        "onnxruntime",
        r"Could not find an implementation for (\w+)",
        "the engine cannot compute {0} in this type",
        Mend.UPDATE,
    ),
    EngineText("onnxruntime", r"Node input '([^']*)' is not a graph input", "nothing computes '{0}'"),
    EngineText("onnxruntime", r"Graph output \(([^)]*)\) does not exist", "nothing computes its output '{0}'"),
    EngineText("onnxruntime", r"External data path", "its constants are in another file, which is not read"),
    EngineText("onnxruntime", r"Initializer '([^']*)': raw_data size", "its constant '{0}' is cut short"),
    EngineText("onnxruntime", r"invalid dimensions for input|Invalid rank for input", _NOT_TAKEN, Mend.IMAGES),
    EngineText("onnxruntime", r"Unexpected input data type|missing from input feed", _NOT_TAKEN, Mend.IMAGES),
    EngineText("onnxruntime", r"ShapeInferenceError|Type Error:|Incompatible dimensions", _TYPES_DIFFER),
    EngineText("openvino", r"Unable to read the model|Error during import of ONNX", "it is damaged"),
    EngineText(
        "openvino",
        r"No conversion rule found for operations: (\S+)",
        "the engine does not know the operator {0}",
        Mend.UPDATE,
    ),
    EngineText("openvino", r"(\S+) node not found in graph cache", "nothing computes '{0}'"),
    EngineText("openvino", r"size of the initializer .* for tensor '([^']*)'", "its constant '{0}' is cut short"),
    EngineText("openvino", r"invalid external data", "its constants are in another file, which is not read"),
    EngineText("openvino", r"Can't set the input tensor|Failed to set tensor for input", _NOT_TAKEN, Mend.IMAGES),
    EngineText("openvino", r"Conversion is failed for: (\S+)", "the types or shapes of its {0} do not match"),
    EngineText("openvino", r"failed with OpConversionFailure", _TYPES_DIFFER),
    EngineText("litert", r"not a valid Flatbuffer|should be 'TFL3'|must be specified", "it is damaged"),
    EngineText(
        "litert",
        r"schema version (\d+) not equal to supported",
        "the engine does not know TFLite format {0}",
        Mend.UPDATE,
    ),
    EngineText(
        "litert", r"builtin_code out of range: (\d+)", "the engine does not know operator number {0}", Mend.UPDATE
    ),
    EngineText(
        "litert",
        r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'",
        "the engine does not know version {1} of {0}",
        Mend.UPDATE,
    ),
    EngineText("litert", r"unresolved custom op: (\S+?)\.?\s", "its operator {0} is a custom one"),
    EngineText("litert", r"No subgraph in the model", "it contains no graph"),
    EngineText("litert", r"Tensor (\d+) is invalidly specified", "its tensor {0} is cut short"),
    EngineText("litert", r"Cannot set tensor", _NOT_TAKEN, Mend.IMAGES),
    EngineText("litert", r"\((\w+)\) failed to prepare", "the types or shapes of its {0} do not match"),
    EngineText("litert", r"\((\w+)\) failed to invoke", "its {0} failed"),
    EngineText("native", r"fmedge_chain returned 2:", "it is damaged"),
    EngineText("native", r"fmedge_chain returned 5:", "no more threads can be started", Mend.THREADS),
    EngineText("native", r"fmedge_chain returned 7:", "the images are too large", Mend.SMALLER),
    EngineText("native", r"fmedge_chain returned 8:", _NOT_TAKEN, Mend.IMAGES),
    EngineText("native", r"fmedge_chain returned (\d+):", "the kernels failed with code {0}", Mend.UPDATE),
    EngineText("ncnn", r"ncnn returned (-?\d+)", "a layer failed with code {0}"),
)
"""Texts seen with onnxruntime 1.31, openvino 2026.4, ai-edge-litert 2.3 and ncnn 20261020. Those of CUDA about memory
were seen on an H100 whose memory was held by another program; the others about graphics cards come from the engines'
documentation and bug trackers. The first row that matches counts."""


def explain(text: str) -> tuple[str, Mend] | None:
    """Return what an engine's text means and what to do about it; None where no row matches."""
    for row in ENGINE_TEXTS:
        found = re.search(row.pattern, text, re.IGNORECASE | re.DOTALL)
        if found:
            return row.words.format(*(group for group in found.groups() if group is not None)), row.mend
    return None


_NOT_TELLING = ("Exception from ", "Check '", "FrontEnd API failed")
"""Beginnings of OpenVINO's lines that name a place in its source, not the failure."""

_TOLD_LETTERS = 90
"""Letters quoted of a text that no row explains: of its first informative line."""


def in_our_words(error: Exception) -> tuple[str, Mend]:
    """Return what an engine's error means and what to do: from the table, or else its first informative line."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = next((line for line in lines if not line.startswith(_NOT_TELLING)), type(error).__name__)
    return explain(text) or (telling[:_TOLD_LETTERS].rstrip(".:"), Mend.EXPORT)
