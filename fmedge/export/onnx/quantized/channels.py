"""Find which channels may be scaled, and scale them: codes then use their range well in every channel.

An engine has one step per activation tensor, but a factor per output channel in every convolution. A tensor's channels
can therefore be divided by factors of their own, if everything that reads the tensor can make up for it: the weights of
the next convolutions do (cross-layer equalisation, Nagel et al. 2019), a ReLU does not mind, and at a tap the factors
become a step per channel. Tensors that are added to each other share their factors.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, helper

from fmedge.export.onnx.quantized.graphs import (
    CONVOLUTIONS,
    Array,
    Floats,
    constants_of,
    copied,
    copied_entry,
    declared,
    output_names,
    readers_of,
    set_constants,
    setting,
)

_KEEPING = (
    *("Relu", "LeakyRelu", "PRelu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("Identity", "Dropout", "Pad", "Resize"),
)
"""Operators f with f(s * x) = s * f(x) for factors s > 0 per channel, some of them only with certain settings."""

_JOINING = ("Add", "Sub", "Max", "Min", "Sum")
"""Operators of two tensors with the same property."""

_MAPS = 4
"""Axes of feature maps, and of the weights of a convolution over them."""

_TO_NHWC = [0, 2, 3, 1]

SCALED, FINE, BOUND = "_scaled", "_fine", "_bound"
"""Suffixes of a tap before its factors are multiplied, of that operator, and of a bound per channel."""


@dataclass(slots=True)
class Channels:
    """The groups of channels that share a factor each.

    Attributes:
        labels: For each tensor with channels, (N, C, H, W), the groups that its channels consist of, in their order.
        sizes: Number of channels of each group.
    """

    labels: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    sizes: list[int] = field(default_factory=list[int])
    _parents: list[int] = field(default_factory=list[int])
    _fixed: set[int] = field(default_factory=set[int])

    def new(self, channels: int) -> tuple[int, ...]:
        """Return a new group as the label of a tensor."""
        self.sizes.append(channels)
        self._parents.append(len(self._parents))
        return (len(self._parents) - 1,)

    def group(self, index: int) -> int:
        """Return the group that stands for all those joined with one."""
        while self._parents[index] != index:
            index = self._parents[index]
        return index

    def join(self, one: int, other: int) -> None:
        """Make two groups one."""
        one, other = self.group(one), self.group(other)
        self._parents[other] = one
        if other in self._fixed:
            self._fixed.add(one)

    def fix(self, tensors: Sequence[str]) -> None:
        """Note that tensors are read by an operator that needs their real values."""
        self._fixed.update(self.group(index) for name in tensors for index in self.labels.get(name, ()))

    def fix_mixed(self) -> None:
        """Fix all groups of tensors of which some are fixed: one step serves both only where their ranges agree."""
        count = -1
        while count < len(self._fixed):
            count = len(self._fixed)
            self.fix([name for name, label in self.labels.items() if label and not self.is_free(name)])

    def is_free(self, tensor: str) -> bool:
        """Return whether all channels of a tensor may have factors."""
        label = self.labels.get(tensor, ())
        return bool(label) and not any(self.group(index) in self._fixed for index in label)

    def free_groups(self) -> list[int]:
        """Return the groups that may have factors."""
        found = {self.group(index) for index in range(len(self.sizes))}
        return sorted(index for index in found if index not in self._fixed)

    def slices(self, tensor: str) -> list[tuple[int, slice]]:
        """Return the groups of a tensor's channels, and where they are."""
        found, start = list[tuple[int, slice]](), 0
        for index in self.labels.get(tensor, ()):
            found.append((self.group(index), slice(start, start + self.sizes[index])))
            start += self.sizes[index]
        return found


def find_channels(model: ModelProto) -> Channels:
    """Find the groups of channels of a model from :func:`fmedge.export.onnx.quantized.graphs.simplified`."""
    found, constants, known = Channels(), constants_of(model), declared(model)
    outputs, readers = output_names(model), readers_of(model)
    for node in model.graph.node:
        tensors = [name for name in node.input if name and name not in constants]
        output = node.output[0]
        channels = (known.get(output, (0, ()))[1] or (None, None))[1:2]
        labels = [found.labels.get(name) for name in tensors]
        if is_convolution(node, constants):
            if channels[0]:
                found.labels[output] = found.new(channels[0])
        elif len(tensors) == 1 and labels[0] and _keeps(node, constants):
            found.labels[output] = labels[0]
        elif _joins(node, tensors, labels, found):
            for one, other in zip(labels[0] or (), labels[1] or (), strict=True):
                found.join(one, other)
            found.labels[output] = labels[0] or ()
        elif node.op_type == "Concat" and setting(node, "axis") == 1 and all(labels) and len(labels) == len(node.input):
            found.labels[output] = tuple(index for label in labels for index in label or ())
        elif not (turns_tap(node) and output in outputs and output not in readers):
            found.fix(tensors)
        else:
            found.labels[output] = labels[0] or ()
    found.fix_mixed()
    return found


def is_convolution(node: NodeProto, constants: Mapping[str, Array]) -> bool:
    """Return whether an operator is a convolution with constant weights and bias, over height and width."""
    return (
        node.op_type in CONVOLUTIONS
        and node.input[1] in constants
        and node.input[2] in constants
        and constants[node.input[1]].ndim == _MAPS
    )


def turns_tap(node: NodeProto) -> bool:
    """Return whether an operator puts the channels last."""
    return node.op_type == "Transpose" and list(setting(node, "perm", [])) == _TO_NHWC


def _joins(node: NodeProto, tensors: Sequence[str], labels: Sequence[tuple[int, ...] | None], found: Channels) -> bool:
    if node.op_type not in _JOINING or len(tensors) != 2 or len(node.input) != 2:
        return False
    sizes = [[found.sizes[index] for index in label or ()] for label in labels]
    return bool(sizes[0]) and sizes[0] == sizes[1]


def _keeps(node: NodeProto, constants: Mapping[str, Array]) -> bool:
    others = [constants.get(name) if name else None for name in node.input[1:]]
    if node.op_type == "Clip":
        return bool(others) and others[0] is not None and float(others[0].reshape(-1)[0]) == 0 and _upper(others)
    if node.op_type == "Pad":
        zero = setting(node, "mode", b"constant") != b"constant" or len(others) < 2 or not np.any(others[1])
        edges = others[0] if others else None
        return zero and edges is not None and len(others) < 3 and len(edges) == 8 and not edges[1] and not edges[5]
    return node.op_type in _KEEPING


def _upper(bounds: Sequence[Array | None]) -> bool:
    """Return whether the upper bound of a Clip is a positive constant, or there is none."""
    return len(bounds) < 2 or bounds[1] is None or float(bounds[1].reshape(-1)[0]) > 0


def upper_bounds(model: ModelProto, channels: Channels) -> dict[int, float]:
    """Return the upper bounds that ReLUs put on groups of channels: no factor may be larger.

    The largest code, which stands for about the factor, then is a bound too.
    """
    constants, found = constants_of(model), dict[int, float]()
    for node in model.graph.node:
        if node.op_type == "Clip" and len(node.input) > 2 and node.input[2] in constants:
            bound = float(constants[node.input[2]].reshape(-1)[0])
            for group, _ in channels.slices(node.output[0]):
                found[group] = min(bound, found.get(group, bound))
    return found


def factors_of(channels: Channels, factors: Mapping[int, Floats], tensor: str) -> Floats | None:
    """Return the factor of each channel of a tensor; None if they are all 1."""
    slices = channels.slices(tensor)
    if not any(group in factors for group, _ in slices):
        return None
    parts = [factors[group] if group in factors else np.ones(channels.sizes[group]) for group, _ in slices]
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A model whose channels are divided by factors.

    Attributes:
        model: It computes the same; only intermediate tensors differ.
        factors: For each tap with factors, these.
        bounds: Largest value of a tensor that an upper bound of a ReLU leaves in every channel.
    """

    model: ModelProto
    factors: dict[str, Floats]
    bounds: dict[str, float]


def scale_channels(model: ModelProto, channels: Channels, factors: Mapping[int, Floats]) -> Scaled:
    """Divide the channels of a model's tensors by factors.

    Args:
        model: The model that the channels were found in.
        channels: Its channels.
        factors: For groups of channels their factors; 1 for all others.
    """
    copy = copied(model)
    constants, made, bounds = constants_of(copy), dict[str, Array](), dict[str, float]()
    nodes = list[NodeProto]()
    for node in copy.graph.node:
        nodes.append(node)
        before, after = (factors_of(channels, factors, name) for name in (node.input[0], node.output[0]))
        if is_convolution(node, constants):
            weights, bias = (constants[name].astype(np.float64) for name in node.input[1:3])
            weights, bias = _scaled_weights(node, weights, bias, before, after)
            made |= {node.input[1]: weights.astype(np.float32), node.input[2]: bias.astype(np.float32)}
        elif node.op_type == "Clip" and after is not None:
            nodes += _relu_and_bound(node, constants, after, made, bounds)
    taps = dict[str, Floats]()
    for name in output_names(copy):
        after = factors_of(channels, factors, name)
        if after is None:
            continue
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [f"{name}{SCALED}" if each == name else each for each in names]
        if name in bounds:
            bounds[f"{name}{SCALED}"] = bounds.pop(name)
        turned = any(f"{name}{SCALED}" in node.output and turns_tap(node) for node in nodes)
        made[f"{name}{FINE}"] = after.astype(np.float32).reshape((-1,) if turned else (-1, 1, 1))
        nodes.append(helper.make_node("Mul", [f"{name}{SCALED}", f"{name}{FINE}"], [name], f"{name}{FINE}"))
        taps[name] = after
    kept = [copied_entry(node) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    del copy.graph.value_info[:]
    set_constants(copy, made)
    return Scaled(copy, taps, bounds)


def _scaled_weights(
    node: NodeProto, weights: Floats, bias: Floats, before: Floats | None, after: Floats | None
) -> tuple[Floats, Floats]:
    """Return the weights and bias of a convolution for inputs and outputs that are divided by factors."""
    groups: int = setting(node, "group", 1)
    first, second = weights.shape[:2]
    forward = node.op_type == "Conv"
    inner = np.repeat(np.arange(groups), first // groups)  # the group of each row of the weights
    if before is not None:
        rows = before.reshape(groups, second)[inner] if forward else before[:, np.newaxis]
        weights = weights * rows[:, :, np.newaxis, np.newaxis]
    if after is not None:
        rows = after[:, np.newaxis] if forward else after.reshape(groups, second)[inner]
        weights, bias = weights / rows[:, :, np.newaxis, np.newaxis], bias / after
    return weights, bias


def _relu_and_bound(
    node: NodeProto, constants: Mapping[str, Array], factors: Floats, made: dict[str, Array], bounds: dict[str, float]
) -> list[NodeProto]:
    """Turn a Clip from 0 into a Relu, in place, and return a Min that bounds every channel.

    In the quantized model the largest code is the bound, and the Min is left out.
    """
    upper = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    node.op_type = "Relu"
    del node.input[1:]
    if upper is None:
        return []
    output = node.output[0]
    limits = float(upper.reshape(-1)[0]) / factors
    made[f"{output}{BOUND}"] = limits.astype(np.float32).reshape(-1, 1, 1)
    bounds[output] = float(limits.min())
    node.output[0] = f"{output}{BOUND}_relu"
    return [helper.make_node("Min", [node.output[0], f"{output}{BOUND}"], [output], f"{output}{BOUND}")]


def without_bounds(model: ModelProto) -> ModelProto:
    """Return a model without the upper bounds per channel, for which the largest code will stand."""
    copy = copied(model)
    renamed = {
        node.input[0]: node.output[0]
        for node in copy.graph.node
        if node.op_type == "Min" and node.name.endswith(BOUND) and node.input[1] == node.name
    }
    kept = [node for node in copy.graph.node if node.output[0] not in renamed.values() or node.op_type != "Min"]
    for node in kept:
        node.output[:] = [renamed.get(name, name) for name in node.output]
    own = [copied_entry(node) for node in kept]
    del copy.graph.node[:]
    copy.graph.node.extend(own)
    return copy
