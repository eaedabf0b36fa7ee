"""The gate for ncnn models: read and check the two files before ncnn, which trusts them, gets them.

Only what fmedge's own exporter writes passes: six kinds of layers, each with fixed parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod

from fmedge.errors import ArtifactError
from fmedge.runtime.gate.bounds import MAX_VALUES, Declared, ModelFacts, Needs, damaged
from fmedge.runtime.gate.bounds import Shape as Extents
from fmedge.runtime.gate.relu_count import IMAGE, Way

MAX_TEXT = 1 << 20
"""Largest graph, in bytes: full VGG16 with every tap has 6 kB, including its facts."""

MAX_LAYERS = 1_000
"""Most layers in a graph: full VGG16 with every tap has 48."""

MAX_CHANNELS = 1 << 12
"""Most channels of a tensor: VGG16 has up to 512. Two such numbers times a kernel's 9 fit into 32 bits."""

MAX_EXTENT = 1 << 20
"""Largest height and width of a tensor in pixels; a card allows no more."""

MAX_TENSOR_BYTES = 1 << 31
"""Largest tensor, in bytes: ncnn counts with signed 32-bit numbers."""

_MAGIC = "7767517"
_TAGS = {bytes(4): 4, (0x01306B47).to_bytes(4, "little"): 2}
"""Bytes per value of a kernel, by the tag before it."""

_FACTS = "#fmedge_card "
_NAME = re.compile(r"[A-Za-z0-9_]{1,200}")
_NUMBER = re.compile(r"[0-9]{1,9}")

Shape = tuple[int, int | None, int | None]
"""Channels, height and width of a tensor; None where any number is allowed."""


@dataclass(frozen=True, slots=True)
class NcnnFacts:
    """What the gate reads from a model.

    Attributes:
        inputs: The shape of each input; there is one.
        outputs: The shape of each output: of tensors that no layer reads.
        facts_json: The card's facts as they stand in the graph; None where there are none.
        ways: For each output what happens on the way from the image.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    facts_json: str | None
    ways: Mapping[str, Way]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of layer: how many tensors it reads and makes, and the allowed values of each parameter."""

    inputs: int
    outputs: int
    needed: Mapping[int, range] = field(default_factory=dict[int, range])
    optional: Mapping[int, range] = field(default_factory=dict[int, range])


def _only(value: int) -> range:
    return range(value, value + 1)


_CHANNELS, _EXTENT = range(1, MAX_CHANNELS + 1), range(1, MAX_EXTENT + 1)

_KINDS = {
    "Input": _Kind(0, 1, {}, {0: _EXTENT, 1: _EXTENT, 2: _only(3)}),
    "Scale": _Kind(1, 1, {0: _CHANNELS, 1: _only(1)}),
    "Convolution": _Kind(
        1, 1, {0: _CHANNELS, 1: _only(3), 4: _only(1), 5: _only(1), 6: range(1 << 31)}, {9: _only(1), 31: _only(64)}
    ),
    "Pooling": _Kind(1, 1, {0: _only(0), 1: _only(2), 2: _only(2), 5: _only(1)}),
    "ReLU": _Kind(1, 1),
    "Split": _Kind(1, 2),
}
"""The kinds of layers that pass. A convolution is 3 x 3 with a border of 1; 31 is a mask of methods not to use."""


def inspect(model: bytes, weights: bytes, name: str) -> NcnnFacts:
    """Read a graph strictly, and check that the weights are as long as it needs.

    Args:
        model: Content of the ``.param`` file.
        weights: Content of the ``.bin`` file.
        name: The model's name, for error messages.

    Returns:
        Its inputs, its outputs, the facts inside and the ways to the outputs.

    Raises:
        ArtifactError: It is not a model that fmedge writes, or the weights do not have the length that it needs.
    """
    try:
        return _inspect(model, weights)
    except _DamagedError as error:
        raise ArtifactError(f"'{name}' is damaged: {error}.", hint="Export it again: fmedge export.") from error


def inspect_ncnn(model: bytes, weights: bytes) -> ModelFacts:
    """Read a model as :func:`inspect` does, for :mod:`fmedge.runtime.gate.checks`.

    A graph is for one image and states no types: the adapter converts whatever a card allows to float32, and outputs
    are float32.

    Raises:
        ArtifactError: See :func:`inspect`; without the file's name.
    """
    try:
        found = _inspect(model, weights)
    except _DamagedError as error:
        raise damaged(str(error)) from error
    inputs = tuple(
        Declared(name, shape=(height, width, channels), one_image=True)
        for name, (channels, height, width) in found.inputs.items()
    )
    outputs = tuple(Declared(name, "float32", shape, one_image=True) for name, shape in found.outputs.items())
    return ModelFacts(inputs, outputs, found.facts_json, found.ways, partial(_needs, model))


def _needs(model: bytes, images: Extents) -> Needs:
    """Work out what a run on images takes; see :class:`ModelFacts`. ncnn computes images one by one."""
    count, height, width, channels = images
    try:
        _, reader = _read(model, None, (channels, height, width))
    except _DamagedError as error:
        raise damaged(str(error)) from error
    shapes = {name: (count, *(extent or 0 for extent in shape)) for name, shape in reader.loose.items()}
    return Needs(shapes, reader.memory + sum(map(prod, shapes.values())) * 4, reader.products * count)


def _read(model: bytes, weights: bytes | None, image: Shape | None = None) -> tuple[str | None, _Reader]:
    """Read a graph: with its weights, or later with the shape of the image that is fed."""
    lines, facts = _lines(model)
    reader = _Reader(weights, image)
    for line in lines[2:]:
        reader.layer(line)
    reader.finish(lines[1])
    return facts, reader


def _inspect(model: bytes, weights: bytes) -> NcnnFacts:
    facts, reader = _read(model, weights)
    return NcnnFacts(reader.inputs, reader.loose, facts, {name: reader.ways[name] for name in reader.loose})


class _DamagedError(ValueError):
    """A model is damaged; the message says in a few words how."""


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise _DamagedError(what)


def _lines(model: bytes) -> tuple[list[str], str | None]:
    """Return the lines up to the last layer, and the facts after it."""
    _require(len(model) <= MAX_TEXT, f"a graph of {len(model):,} bytes, at most {MAX_TEXT:,} allowed")
    _require(model.endswith(b"\n") and all(byte == 10 or 32 <= byte < 127 for byte in model), "not lines of plain text")
    lines = model.decode("ascii").removesuffix("\n").split("\n")
    facts = lines.pop().removeprefix(_FACTS) if lines[-1].startswith(_FACTS) else None
    _require(lines[:1] == [_MAGIC], "the first line is not ncnn's")
    _require(3 <= len(lines) <= MAX_LAYERS + 2, f"{len(lines) - 2} layers, 1 to {MAX_LAYERS} allowed")
    return lines, facts


class _Reader:
    """Reads a graph from top to bottom.

    Attributes:
        inputs: Shapes of the inputs.
        loose: Shapes of the tensors that no layer has read so far.
        ways: For each tensor what happens on the way from the image.
        memory: The most bytes of tensors that are needed at one time, where the sizes are known.
        products: Number of multiplications and the like, where the sizes are known.
    """

    def __init__(self, weights: bytes | None, image: Shape | None) -> None:
        self.inputs: dict[str, Shape] = {}
        self.loose: dict[str, Shape] = {}
        self.ways: dict[str, Way] = {}
        self.memory = 0
        self.products = 0
        self._image = image
        self._weights = weights
        self._position = 0
        self._layers: set[str] = set()
        self._tensors: set[str] = set()

    def layer(self, line: str) -> None:
        """Read and check one line."""
        words = line.split(" ")
        kind = _KINDS.get(words[0])
        if kind is None:
            raise _DamagedError(f"a layer of unknown kind '{words[0][:20]}'")
        names = 2 + kind.inputs + kind.outputs
        _require(len(words) >= 2 + names, f"a line of {len(words)} words for {words[0]}")
        label, sources = words[1], words[4 : 4 + kind.inputs]
        results = words[4 + kind.inputs : 2 + names]
        _require(
            words[2:4] == [str(kind.inputs), str(kind.outputs)], f"{words[0]} with a wrong number of inputs or outputs"
        )
        _require(all(_NAME.fullmatch(word) for word in (label, *sources, *results)), "a name with forbidden characters")
        _require(label not in self._layers, f"the layer '{label[:40]}' occurs twice")
        self._layers.add(label)
        values = _parameters(kind, words[2 + names :], words[0])
        taken = [self._take(source) for source in sources]
        shape = self._shape(words[0], values, taken[0] if taken else None)
        for result in results:
            _require(result not in self._tensors, f"the tensor '{result[:40]}' is computed twice")
            self._tensors.add(result)
            self.loose[result] = shape
            self.products += _values(shape)
            self.ways[result] = _way(words[0], values, self.ways[sources[0]]) if sources else IMAGE
        self.memory = max(self.memory, 4 * sum(map(_values, (*self.loose.values(), *taken))))
        if not sources:
            _require(not self.inputs, "a second input")
            self.inputs[results[0]] = shape

    def finish(self, counts: str) -> None:
        """Check the totals: the stated counts, the input, and the length of the weights."""
        stated = f"{len(self._layers)} {len(self._tensors)}"
        _require(counts == stated, f"'{counts[:20]}' layers and tensors announced, {stated} found")
        _require(bool(self.inputs) and not set(self.loose) & set(self.inputs), "no layer reads the input")
        if self._weights is not None:
            have, want = len(self._weights), self._position
            _require(have == want, f"{have:,} bytes of weights, {want:,} needed")

    def _take(self, source: str) -> Shape:
        shape = self.loose.pop(source, None)
        if shape is None:
            raise _DamagedError(f"the tensor '{source[:40]}' is read before it is computed, or twice")
        return shape

    def _shape(self, kind: str, values: Mapping[int, int], source: Shape | None) -> Shape:
        """Return the shape of a layer's results, and skip its weights."""
        if source is None:
            _require(len(values) in (0, 3), "an input with an incomplete shape")
            stated: Shape = (3, values.get(1), values.get(0))
            if self._image is not None and any(
                own not in (None, fed) for own, fed in zip(stated, self._image, strict=True)
            ):
                raise _DamagedError("an input of another size")
            return self._checked(self._image or stated)
        channels, height, width = source
        if kind == "Scale":
            _require(values[0] == channels, f"{values[0]} factors for {channels} channels")
            self._skip(2 * channels * 4)
        if kind == "Convolution":
            count = values[0] * channels * 9
            _require(values[6] == count, f"a kernel of {values[6]:,} values, {count:,} needed")
            self._kernel(count)
            self._skip(values[0] * 4)
            self.products += _values((values[0], height, width)) * channels * 9
            return self._checked((values[0], height, width))
        if kind == "Pooling":
            return self._checked((channels, height and height // 2, width and width // 2))
        return source

    def _checked(self, shape: Shape) -> Shape:
        _require(0 not in shape, "a tensor without pixels")
        size, most = 4 * _values(shape), MAX_TENSOR_BYTES if self._image is None else 4 * MAX_VALUES
        _require(size <= most, f"a tensor of {size:,} bytes, at most {most:,} allowed")
        return shape

    def _kernel(self, count: int) -> None:
        if self._weights is None:
            return
        size = _TAGS.get(self._weights[self._position : self._position + 4])
        if size is None:
            raise _DamagedError(f"weights of an unknown kind at byte {self._position:,}")
        self._skip(4 + (count * size + 3) // 4 * 4)

    def _skip(self, size: int) -> None:
        if self._weights is not None:
            self._position += size
            have = len(self._weights)
            _require(self._position <= have, f"{have:,} bytes of weights, at least {self._position:,} needed")


def _way(kind: str, values: Mapping[int, int], way: Way) -> Way:
    """Return the way after a layer; parameter 9 of a convolution is its own activation, where 1 is ReLU."""
    if kind == "Convolution":
        return way.convolved().relu() if values.get(9) else way.convolved()
    if kind == "ReLU":
        return way.relu()
    return way.other() if kind == "Scale" else way


def _parameters(kind: _Kind, words: list[str], name: str) -> dict[int, int]:
    values: dict[int, int] = {}
    for word in words:
        key, _, value = word.partition("=")
        _require(
            bool(_NUMBER.fullmatch(key) and _NUMBER.fullmatch(value)), f"{name} with a wrong parameter '{word[:20]}'"
        )
        number = int(key)
        allowed = kind.needed.get(number) or kind.optional.get(number)
        good = allowed is not None and int(value) in allowed and number not in values
        _require(good, f"{name} with a wrong parameter '{word[:20]}'")
        values[number] = int(value)
    _require(set(kind.needed) <= set(values), f"{name} lacks a parameter")
    return values


def _values(shape: Shape) -> int:
    """Return the number of values of a tensor; unknown extents count as 1."""
    return prod(extent or 1 for extent in shape)
