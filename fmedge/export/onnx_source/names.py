"""The names of an ONNX network's layers: those of its operators, and of the modules that they came from."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, cast

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter keeps the modules that an operator came from, from the outside in, and the operator."""


class Name(NamedTuple):
    """How a layer is called.

    Attributes:
        shown: The name that lists and messages show: the module's, if one operator alone came from it as such.
        every: All names that it can be requested by.
    """

    shown: str
    every: tuple[str, ...]


_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def layer_names(nodes: Sequence[onnx.NodeProto]) -> list[Name]:
    """Return the names of each operator: its module's path, its own name, and that of its first output."""
    owners: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for module in _modules(node):
            owners.setdefault(module, []).append(index)
    modules: dict[int, list[str]] = {}
    for module, indices in owners.items():  # of several operators of one module, the one with weights stands for it
        chosen = indices if len(indices) == 1 else [each for each in indices if nodes[each].op_type in _WEIGHTED]
        if len(chosen) == 1:
            modules.setdefault(chosen[0], []).append(module)
    counts = Counter(name for node in nodes for name in {node.name, node.output[0]})
    found = list[Name]()
    for index, node in enumerate(nodes):
        own = [name for name in (node.name, node.output[0]) if name and counts[name] == 1]
        every = tuple(dict.fromkeys([*modules.get(index, ()), *own, node.output[0]]))
        found.append(Name(every[0], every))
    return found


def _modules(node: onnx.NodeProto) -> list[str]:
    """Return paths of the modules that an operator came from, such as ``layer1.0.conv1``."""
    scopes = next((_innermost(entry.value) for entry in node.metadata_props if entry.key == _SCOPES), "")
    path = _joined(node.name.strip("/").split("/")[:-1]) if node.name.startswith("/") else ""
    parameter = _of_parameter(node.input[1]) if len(node.input) > 1 and node.op_type in _WEIGHTED else ""
    return list(dict.fromkeys(filter(None, (parameter, scopes, path))))


def _innermost(scopes: str) -> str:
    try:
        found = ast.literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    modules = cast("list[object]", found)[:-1] if isinstance(found, list) else []
    return str(modules[-1]) if modules else ""


def _joined(scopes: Sequence[str]) -> str:
    """Return ``layer1.0.conv1`` for ``layer1``, ``layer1.0``, ``conv1``: a scope may repeat the one that holds it."""
    parts = list[str]()
    for scope in scopes:
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts)


def _of_parameter(name: str) -> str:
    """Return ``layer1.0.conv1`` for its parameter ``layer1.0.conv1.weight``."""
    return name.removesuffix(".weight") if name.endswith(".weight") else ""
