"""Simplify, change and run float ONNX graphs, with onnxruntime."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from fmedge.errors import UsageError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_OWN_DOMAINS = ("", "ai.onnx")

_SILENT = 4
"""ONNX Runtime's log level at which it prints nothing."""

CONVOLUTIONS = ("Conv", "ConvTranspose")


def copied(model: ModelProto) -> ModelProto:
    """Return a copy of a model."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def setting(node: NodeProto, name: str, default: Any = None) -> Any:  # noqa: ANN401 - an attribute may be anything
    """Return an attribute of an operator, or the default where it is left out."""
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def constants_of(model: ModelProto) -> dict[str, Array]:
    """Return the values of a model's constants by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def set_constants(model: ModelProto, values: Mapping[str, Array]) -> None:
    """Add constants to a model, in place; those of the same name are replaced."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in values]
    made = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in values.items()]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *made])


def readers_of(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Return the operators that read each tensor."""
    found: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            found[name].append(node)
    return dict(found)


def declared(model: ModelProto) -> dict[str, tuple[int, tuple[int | None, ...]]]:
    """Return the element type and shape of every tensor, as far as onnx infers them; None for open extents."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        entry.name: (
            entry.type.tensor_type.elem_type,
            tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in entry.type.tensor_type.shape.dim),
        )
        for entry in (*inferred.value_info, *inferred.input, *inferred.output)
    }


def tidy(model: ModelProto) -> None:
    """Sort operators, each after those that it reads from, and drop what no output needs, in place."""
    graph = model.graph
    known = {"", *(tensor.name for tensor in graph.initializer), *(entry.name for entry in graph.input)}
    waiting, ordered = list(graph.node), list[NodeProto]()
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError(f"nothing makes what '{waiting[0].name}' reads")
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
        ordered += ready
    needed = {entry.name for entry in graph.output}
    kept = list[NodeProto]()
    for node in reversed(ordered):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.node, kept[::-1]), (graph.initializer, tensors)):
        own = [copied_entry(value) for value in values]
        del field[:]
        field.extend(own)
    del graph.value_info[:]


def copied_entry(entry: Any) -> Any:  # noqa: ANN401 - an operator or a constant
    """Return a copy of a protobuf message."""
    copy = type(entry)()
    copy.CopyFrom(entry)
    return copy


def session_of(model: ModelProto, *, optimised: bool = False, target: Path | None = None) -> ort.InferenceSession:
    """Load a model into ONNX Runtime on the CPU.

    Args:
        model: The model.
        optimised: Whether its basic graph optimisations are made; without them QuantizeLinear and the float operators
            are computed as they stand, on every processor alike.
        target: File to save the optimised model in.

    Raises:
        UsageError: ONNX Runtime cannot run it.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_BASIC if optimised else level.ORT_DISABLE_ALL
    if target is not None:
        options.optimized_model_filepath = str(target)
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base but Exception
        said = str(error).strip().partition("\n")[0][:90]
        raise UsageError(f"ONNX Runtime cannot run this network for int8: {said}.", hint="Cut earlier.") from error


def simplified(model: ModelProto) -> ModelProto:
    """Return a float model after ONNX Runtime's basic optimisations, which fold BatchNorm into convolutions.

    Every operator has a name of its own; every convolution has a bias, and weights and a bias of its own, so that they
    can be changed one by one.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "simplified.onnx"
        session_of(model, optimised=True, target=target)
        found = onnx.load(target)
    foreign = [node.op_type for node in found.graph.node if node.domain not in _OWN_DOMAINS]
    if foreign:  # then onnx could not check and compute it
        found = copied(model)
    own = [entry for entry in found.opset_import if entry.domain in _OWN_DOMAINS]
    opsets = [helper.make_opsetid("", entry.version) for entry in own]
    del found.opset_import[:]
    found.opset_import.extend(opsets)
    _separate_weights(found)
    for number, node in enumerate(found.graph.node):
        node.name = f"{node.op_type}_{number}"
    tidy(found)
    return found


def _separate_weights(model: ModelProto) -> None:
    constants, taken, made = constants_of(model), set[str](), dict[str, Array]()
    for number, node in enumerate(model.graph.node):
        if node.op_type not in CONVOLUTIONS or node.input[1] not in constants:
            continue
        if len(node.input) < 3 or not node.input[2]:
            weights = constants[node.input[1]]
            filters = weights.shape[0] if node.op_type == "Conv" else weights.shape[1] * setting(node, "group", 1)
            del node.input[2:]
            node.input.append(f"{node.output[0]}_bias_{number}")
            made[node.input[2]] = np.zeros(filters, np.float32)
        for place in (1, 2):
            name = node.input[place]
            if name in taken and name in constants:
                node.input[place] = f"{name}_{number}"
                made[node.input[place]] = constants[name]
            taken.add(name)
    set_constants(model, made)


def run_all(model: ModelProto, tensors: Sequence[str], images: Iterable[Array]) -> Iterator[dict[str, Array]]:
    """Compute tensors of a float model for images, (N, H, W, 3) each; yields them by name for one image at a time."""
    copy = copied(model)
    shown = {entry.name for entry in copy.graph.output}
    copy.graph.output.extend(ValueInfoProto(name=name) for name in tensors if name not in shown)
    session = session_of(copy)
    image = model.graph.input[0]
    dtype = np.uint8 if image.type.tensor_type.elem_type == TensorProto.UINT8 else np.float32
    for each in images:
        values: Any = session.run(list(tensors), {image.name: each.astype(dtype)}) if tensors else []
        yield dict(zip(tensors, values, strict=True))


def makers_before(model: ModelProto, tensor: str) -> list[NodeProto]:
    """Return the operators that a tensor follows from, the last one first."""
    wanted, found = {tensor}, list[NodeProto]()
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            found.append(node)
    return found


def passed_on(model: ModelProto) -> set[str]:
    """Return the tensors that one Relu or Clip alone reads: only the value after it is stored in 8 bits."""
    outputs = output_names(model)
    return {
        name
        for name, readers in readers_of(model).items()
        if name not in outputs and [node.op_type for node in readers] in (["Relu"], ["Clip"])
    }


def output_names(model: ModelProto) -> list[str]:
    """Return the names of a model's outputs."""
    return [entry.name for entry in model.graph.output]
