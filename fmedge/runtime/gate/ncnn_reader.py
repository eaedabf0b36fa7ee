"""The gate for ncnn models: read and check the two files before ncnn, which trusts them, gets them.

Only kinds of layers that ``ncnn_layers.py`` lists pass, each with parameters that it allows. The shape of every tensor
is worked out, and every value of the weights is accounted for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from fmedge.errors import ArtifactError
from fmedge.model.ncnn_format import MAX_BLOB_NAME, name_of
from fmedge.runtime.gate.bounds import MAX_VALUES, Declared, ModelFacts, Needs, damaged
from fmedge.runtime.gate.bounds import Shape as Extents
from fmedge.runtime.gate.ncnn_layers import KINDS
from fmedge.runtime.gate.ncnn_parameters import Parameters, read_parameters
from fmedge.runtime.gate.ncnn_rules import Call, Made, Rule, Shape, WrongError, values
from fmedge.runtime.gate.relu_count import IMAGE, Way, joined

MAX_TEXT = 1 << 20
"""Largest graph, in bytes: full VGG16 with every tap has 6 kB, including its facts."""

MAX_LAYERS = 4_000
"""Most layers in a graph: full VGG16 with every tap has 48, EfficientNet v2 about 900. ncnn calls itself for each layer
on the way to an output, which 20,000 layers did not make too deep for a stack of 8 MB."""

MAX_TENSOR_BYTES = 1 << 31
"""Largest tensor, in bytes: ncnn counts with signed 32-bit numbers."""

_MAGIC = "7767517"
_TAGS = {bytes(4): 4, (0x01306B47).to_bytes(4, "little"): 2}
"""Bytes per value of a kernel, by the tag before it."""

_FACTS = "#fmedge_card "
_COUNT = re.compile(r"[0-9]{1,4}")
_KEEPS = frozenset(
    (
        *("Input", "Split", "Pooling", "Concat", "Slice", "Crop", "Reshape", "Flatten", "Squeeze", "ExpandDims"),
        *("Permute", "ShuffleChannel", "PixelShuffle", "Reorg", "Dropout"),
    )
)
"""Layers that only move, choose or average values: none of them can get below zero."""

_LABEL = re.compile(r"[A-Za-z0-9_]{1,200}")
_BLOB = re.compile(rf"[A-Za-z0-9_.~%-]{{1,{MAX_BLOB_NAME}}}")
"""Names of layers, and of tensors as :func:`fmedge.model.ncnn_format.blob_of` writes them."""

Image = tuple[int, int | None, int | None]
"""Channels, height and width of the image or of a map; None where any number is allowed."""


@dataclass(frozen=True, slots=True)
class NcnnFacts:
    """What the gate reads from a model.

    Attributes:
        inputs: The shape of each input; there is one.
        outputs: The shape of each output: of tensors that no layer reads.
        facts_json: The card's facts as they stand in the graph; None where there are none.
        ways: For each output what happens on the way from the image.
    """

    inputs: Mapping[str, Image]
    outputs: Mapping[str, Image]
    facts_json: str | None
    ways: Mapping[str, Way]


def inspect(model: bytes, weights: bytes, name: str) -> NcnnFacts:
    """Read a graph strictly, and check that the weights are as long as it needs.

    Args:
        model: Content of the ``.param`` file.
        weights: Content of the ``.bin`` file.
        name: The model's name, for error messages.

    Returns:
        Its inputs, its outputs, the facts inside and the ways to the outputs.

    Raises:
        ArtifactError: It contains what fmedge does not run, or the weights do not have the length that it needs.
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
        outputs = reader.outputs()
    except _DamagedError as error:
        raise damaged(str(error)) from error
    shapes = {name: (count, *(extent or 0 for extent in shape)) for name, shape in outputs.items()}
    return Needs(shapes, reader.memory + sum(map(prod, shapes.values())) * 4, reader.products * count)


def _read(model: bytes, weights: bytes | None, image: Image | None = None) -> tuple[str | None, _Reader]:
    """Read a graph: with its weights, or later with the shape of the image that is fed."""
    lines, facts = _lines(model)
    reader = _Reader(weights, image)
    for line in lines[2:]:
        reader.layer(line)
    reader.finish(lines[1])
    return facts, reader


def _inspect(model: bytes, weights: bytes) -> NcnnFacts:
    facts, reader = _read(model, weights)
    ways = {_name(blob): reader.ways[blob] for blob in reader.loose}
    return NcnnFacts(reader.inputs, reader.outputs(), facts, ways)


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


def _name(blob: str) -> str:
    try:
        return name_of(blob)
    except ValueError as error:
        raise _DamagedError(f"a tensor of the wrong name '{blob[:40]}'") from error


class _Reader:
    """Reads a graph from top to bottom.

    Attributes:
        inputs: Shapes of the inputs.
        loose: Shapes of the tensors that no layer has read so far.
        ways: For each tensor what happens on the way from the image.
        memory: The most bytes of tensors that are needed at one time, where the sizes are known.
        products: Number of multiplications and the like, where the sizes are known.
    """

    def __init__(self, weights: bytes | None, image: Image | None) -> None:
        self.inputs: dict[str, Image] = {}
        self.loose: dict[str, Shape] = {}
        self.ways: dict[str, Way] = {}
        self.memory = 0
        self.products = 0
        self._held = 0
        self._image = image
        self._weights = weights
        self._position = 0
        self._layers: set[str] = set()

    def outputs(self) -> dict[str, Image]:
        """Return the shapes of the outputs, which must be maps: of tensors that no layer reads."""
        found: dict[str, Image] = {}
        for blob, shape in self.loose.items():
            if len(shape) != 3 or shape[0] is None:
                raise _DamagedError(f"an output '{blob[:40]}' without height and width")
            found[_name(blob)] = shape[0], shape[1], shape[2]
        return found

    def layer(self, line: str) -> None:
        """Read and check one line."""
        words = line.split(" ")
        kind = KINDS.get(words[0])
        if kind is None:
            raise _DamagedError(f"a layer of unknown kind '{words[0][:20]}'")
        _require(len(words) >= 4, f"a line of {len(words)} words for {words[0]}")
        reads, makes = (int(word) if _COUNT.fullmatch(word) else -1 for word in words[2:4])
        good = reads in kind.inputs and makes in kind.outputs
        _require(good, f"{words[0]} with a wrong number of inputs or outputs")
        names = 4 + reads + makes
        _require(len(words) >= names, f"a line of {len(words)} words for {words[0]}")
        label, sources, results = words[1], words[4 : 4 + reads], words[4 + reads : names]
        blobs = all(_BLOB.fullmatch(word) for word in (*sources, *results))
        _require(bool(_LABEL.fullmatch(label)) and blobs, "a name with forbidden characters")
        _require(label not in self._layers, f"the layer '{label[:40]}' occurs twice")
        self._layers.add(label)
        try:
            parameters = read_parameters(words[names:], kind.needed, kind.optional)
        except ValueError as error:
            raise _DamagedError(
                f"{words[0]} with {error}" if str(error) else f"{words[0]} lacks a parameter"
            ) from error
        taken = [self._take(source) for source in sources]
        call = Call(words[0], parameters, taken, makes)
        made = self._input(parameters, results[0]) if kind.rule is None else self._made(kind.rule, call)
        way = _way(call, joined([self.ways[source] for source in sources]) or IMAGE)
        for result, shape in zip(results, made.shapes, strict=True):
            _require(result not in self.ways, f"the tensor '{result[:40]}' is computed twice")
            self.loose[result] = shape
            self.ways[result] = way
        self._count(taken, made)

    def _made(self, rule: Rule, call: Call) -> Made:
        """Work out what a layer makes, and skip its weights."""
        try:
            made = rule(call)
        except WrongError as error:
            raise _DamagedError(str(error)) from error
        except (ValueError, IndexError, ZeroDivisionError) as error:
            shapes = " and ".join(" x ".join(str(extent or "?") for extent in shape) for shape in call.shapes[:2])
            raise _DamagedError(f"{call.kind} cannot take {shapes}") from error
        for shape in (*made.shapes, (made.scratch or 1,)):
            self._require_size(shape)
        for count, tagged in made.weights:
            self._skip(count, tagged=tagged)
        return made

    def _count(self, taken: Sequence[Shape], made: Made) -> None:
        """Add what a layer takes to the memory and the work."""
        new = sum(map(values, made.shapes))
        self._held += new
        self.memory = max(self.memory, 4 * (self._held + made.scratch))
        self._held -= sum(map(values, taken))
        self.products += new + made.products

    def finish(self, counts: str) -> None:
        """Check the totals: the stated counts, the input, and the length of the weights."""
        stated = f"{len(self._layers)} {len(self.ways)}"
        _require(counts == stated, f"'{counts[:20]}' layers and tensors announced, {stated} found")
        _require(bool(self.inputs) and not {*map(_name, self.loose)} & {*self.inputs}, "no layer reads the input")
        if self._weights is not None:
            have, want = len(self._weights), self._position
            _require(have == want, f"{have:,} bytes of weights, {want:,} needed")

    def _take(self, source: str) -> Shape:
        shape = self.loose.pop(source, None)
        if shape is None:
            raise _DamagedError(f"the tensor '{source[:40]}' is read before it is computed, or twice")
        return shape

    def _input(self, parameters: Parameters, blob: str) -> Made:
        _require(not self.inputs, "a second input")
        _require(len(parameters.wholes) in (0, 3), "an input with an incomplete shape")
        stated: Image = (3, parameters.wholes.get(1), parameters.wholes.get(0))
        image = self._image
        if image is not None and any(own not in (None, fed) for own, fed in zip(stated, image, strict=True)):
            raise _DamagedError("an input of another size")
        self.inputs[_name(blob)] = shape = image or stated
        self._require_size(shape)
        return Made([shape])

    def _require_size(self, shape: Shape) -> None:
        _require(0 not in shape, "a tensor without pixels")
        size, most = 4 * values(shape), MAX_TENSOR_BYTES if self._image is None else 4 * MAX_VALUES
        _require(size <= most, f"a tensor of {size:,} bytes, at most {most:,} allowed")

    def _skip(self, count: int, *, tagged: bool) -> None:
        """Skip an array of the weights: float32, or with a tag before it that says what it is."""
        if self._weights is None:
            return
        size = 4
        if tagged:
            tag = self._weights[self._position : self._position + 4]
            self._position += 4
            size = _TAGS.get(tag, 0)
            _require(bool(size), f"weights of an unknown kind at byte {self._position - 4:,}")
        self._position += (count * size + 3) // 4 * 4
        have = len(self._weights)
        _require(self._position <= have, f"{have:,} bytes of weights, at least {self._position:,} needed")


def _way(call: Call, way: Way) -> Way:
    """Return the way after a layer; parameter 9 of a convolution is its own activation, where 1 is ReLU."""
    if "onvolution" in call.kind or call.kind in ("InnerProduct", "Gemm"):
        own = call.parameters.whole(9)
        return way.convolved().relu() if own == 1 else way.convolved()
    if call.kind in _KEEPS:
        return way
    return way.relu() if _is_relu(call.kind, call.parameters) else way.other()


def _is_relu(kind: str, parameters: Parameters) -> bool:
    floats = parameters.floats
    if kind == "ReLU":
        return floats.get(0, 0.0) == 0
    largest = kind == "BinaryOp" and parameters.whole(0) == 4 and bool(parameters.whole(1))
    return (kind == "Clip" and floats.get(0, -1.0) == 0 and 1 not in floats) or (largest and floats.get(2, 0.0) == 0)
