"""Tell which activation an operator, or a few operators together, compute.

An activation that ONNX has an operator for is known by its name and attributes. One that is written as several
operators (x * sigmoid(x), the many forms of GELU) is known by its values: operators that read one tensor and constants
alone are computed on numbers from -8 to 8 and compared with the functions that networks use.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import erf, sqrt
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from fmedge.export.onnx_source.evaluator import EVALUATOR_ERRORS
from fmedge.export.onnx_source.graph import OnnxGraph
from fmedge.export.onnx_source.reading import obstacle_of_node
from fmedge.model.activations import LINEAR, RELU

_NAMED: Mapping[str, tuple[str, Mapping[str, float | str]]] = {
    "Relu": (RELU, {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "PRelu": ("prelu", {}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Selu": ("selu", {}),
    "Celu": ("celu", {"alpha": 1.0}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hard_silu", {}),
    "Mish": ("mish", {}),
    "Gelu": ("gelu", {"approximate": "none"}),
    "Softmax": ("softmax", {}),
    "LogSoftmax": ("log_softmax", {}),
}
"""Operators that are an activation: the word for it, and their parameters with the values that ONNX gives them."""

_CARD_WORDS = {"alpha": {"LeakyRelu": "negative_slope"}}
"""Parameters that cards, which follow Keras, call otherwise."""

Values = npt.NDArray[np.float64]


def _sigmoid(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


_FUNCTIONS: Mapping[str, Callable[[Values], Values]] = {
    RELU: lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "silu": lambda x: x * _sigmoid(x),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "sigmoid": _sigmoid,
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2,
    "gelu(approximate=True)": lambda x: x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softplus": lambda x: np.log1p(np.exp(x)),
}
"""Activations that are known by their values. The approximation of GELU, and quick GELU, are those of Hendrycks and
Gimpel, "Gaussian Error Linear Units" (2016)."""

_ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Pow", "Exp", "Log", "Reciprocal", "Erf", "Min", "Max", "Clip"),
    *("Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Identity"),
)
_MAX_OPERATORS = 10
"""Most operators of an activation: GELU by tanh has eight."""

_SAMPLES = np.linspace(-8, 8, 161)
_TOLERANCE = 1e-4
"""Constants in files are float32, and rounded by hand in some (1.4142)."""


def function_of(graph: OnnxGraph, index: int) -> str:
    """Return the activation that an operator is; ``linear`` if it is none."""
    node = graph.nodes[index]
    if obstacle_of_node(node):
        return LINEAR
    if node.op_type == "Clip":
        low, high = _bounds(graph, node)
        if low != 0 or high is None:
            return LINEAR
        return "relu6" if high == 6 else f"bounded_relu(max_value={high:g})"
    if node.op_type not in _NAMED:
        return LINEAR
    word, usual = _NAMED[node.op_type]
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if word == "hard_sigmoid" and _is_near(found.get("alpha", 0.2), 1 / 6) and _is_near(found.get("beta", 0.5), 0.5):
        return word  # as torch and Keras 3 compute it
    said = [
        f"{_CARD_WORDS.get(name, {}).get(node.op_type, name)}={_shown(found.get(name, value))}"
        for name, value in usual.items()
        if word in ("leaky_relu", "hard_sigmoid") or _shown(found.get(name, value)) != _shown(value)
    ]
    if word == "gelu":
        return "gelu(approximate=True)" if _shown(found.get("approximate", "none")) == "tanh" else "gelu"
    return f"{word}({', '.join(said)})" if said else word


def activation_after(graph: OnnxGraph, tensor: str) -> tuple[str, str]:
    """Return the activation that alone reads a tensor.

    Returns:
        The tensor after it, and its name; the tensor itself and ``linear`` if there is none.
    """
    readers = graph.read_by.get(tensor, ())
    if not readers or any(output.name == tensor for output in graph.model.graph.output):
        return tensor, LINEAR
    if len(readers) == 1 and (function := function_of(graph, readers[0])) != LINEAR:
        return graph.nodes[readers[0]].output[0], function
    for region in _closed_regions(graph, tensor):
        after = graph.nodes[region[-1]].output[0]
        if function := _by_values(graph, tensor, region, after):
            return after, function
    return tensor, LINEAR


def _closed_regions(graph: OnnxGraph, tensor: str) -> Iterator[list[int]]:
    """Yield the few operators between a tensor and each later one that all paths from it go through, nearest first."""
    region = list[int]()
    inside = {tensor}
    waiting = set(graph.read_by.get(tensor, ()))
    while waiting and len(region) < _MAX_OPERATORS:
        index = min(waiting)
        node = graph.nodes[index]
        if node.op_type not in _ELEMENTWISE or not all(
            name in inside or _is_scalar(graph, name) for name in node.input if name
        ):
            return
        region.append(index)
        inside.add(node.output[0])
        waiting = {reader for name in inside for reader in graph.read_by.get(name, ())} - set(region)
        left = {name for name in inside if any(reader not in region for reader in graph.read_by.get(name, ()))}
        if len(region) > 1 and left <= {node.output[0]}:
            yield list(region)


def _is_scalar(graph: OnnxGraph, name: str) -> bool:
    return name in graph.constants and int(np.prod(graph.constants[name].dims)) == 1


def _by_values(graph: OnnxGraph, before: str, region: list[int], after: str) -> str | None:
    """Return the function that some operators compute together; None if it is not a known activation."""
    nodes = [graph.nodes[index] for index in region]
    constants = {name for node in nodes for name in node.input if name in graph.constants}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(_SAMPLES)]) for name in (before, after)]
    part = helper.make_graph(nodes, "activation", values[:1], values[1:], [graph.constants[name] for name in constants])
    model: ModelProto = helper.make_model(part, opset_imports=graph.model.opset_import)
    try:
        with np.errstate(all="ignore"):
            outputs = cast("list[Any]", ReferenceEvaluator(model).run(None, {before: _SAMPLES.astype(np.float32)}))
            found: Values = np.asarray(outputs[0], np.float64).reshape(-1)
    except EVALUATOR_ERRORS:  # then it is no activation that is known
        return None
    if found.shape != _SAMPLES.shape:
        return None
    names = (name for name, function in _FUNCTIONS.items() if np.allclose(found, function(_SAMPLES), atol=_TOLERANCE))
    return next(names, None)


def _bounds(graph: OnnxGraph, node: NodeProto) -> tuple[float | None, float | None]:
    """Return the bounds of a Clip, which are attributes before opset 11 and inputs since."""
    found = {attribute.name: float(attribute.f) for attribute in node.attribute}
    inputs = [graph.value(name) if name else None for name in [*node.input[1:], "", ""][:2]]
    low, high = (None if value is None or value.size != 1 else float(value.reshape(-1)[0]) for value in inputs)
    return found.get("min", low), found.get("max", high)


def _is_near(value: object, other: float) -> bool:
    return isinstance(value, float) and abs(value - other) < _TOLERANCE


def _shown(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else f"{value:g}" if isinstance(value, float) else str(value)
