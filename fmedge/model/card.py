"""The card: everything known about a model, as JSON next to its file and, without hash and parity, inside it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fmedge.errors import ArtifactError, FmedgeError
from fmedge.model.activations import RELU, UNKNOWN, is_function, view_words
from fmedge.model.footprint import run_bytes
from fmedge.model.parity import Parity
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.stock import INPUT_SIZE, STOCK, VGG16
from fmedge.model.submodel import SOURCES, Activation, ExportOptions, Format, Precision, SubModel
from fmedge.model.tap_view import TapView
from fmedge.system.memory import require_memory
from fmedge.system.serde import read_document, reason

CARD_SCHEMA = 2
"""Version of the card's fields; any other version is refused."""


MAX_EXTENT = 1 << 20
"""Largest extent of a tensor. The largest in a known network is 25,088, of a dense kernel."""

MAX_TENSOR_BYTES = 1 << 31
"""Largest tensor: a batch of 167 images at VGG16's widest layer. Engines count with signed 32-bit numbers."""

MAX_INPUT_BYTES = 1 << 28
"""Largest batch of images that a card may ask for: the size of the largest image that is decoded by default."""

_FLOAT_BYTES = 4

METADATA_KEY = "fmedge_card"
"""Key in ONNX' ``metadata_props`` and in TFLite's metadata that holds a card's facts as JSON."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of the model.

    Attributes:
        name: Its name in the file.
        dtype: NumPy's name of the element type.
        shape: Extents in order; ``None`` means any number.
        layout: Meaning of the axes, such as ``NHWC``.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    layout: str

    def describe(self) -> str:
        """Return it in words: ``uint8 N x 224 x 224 x 3 (NHWC)``."""
        extents = " x ".join("N" if extent is None else str(extent) for extent in self.shape)
        return f"{self.dtype} {extents} ({self.layout})"

    @property
    def least_bytes(self) -> int:
        """Size in bytes when every open extent is 1."""
        return math.prod(extent or 1 for extent in self.shape) * (1 if self.dtype == "uint8" else _FLOAT_BYTES)


_FILES = {"file": "weights", "keras": "Keras model", "onnx": "ONNX model"}
"""Kinds of weights that are a file of the user's own, in words."""


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """Which weights a model holds.

    Attributes:
        kind: ``imagenet`` (Keras' official file), ``file`` (any other file), ``keras`` or ``onnx`` (a whole model of
            the user's own) or ``untrained``.
        sha256: Hash of the file; None for untrained weights.
        recipe: How untrained weights were drawn; None for others.
    """

    kind: str
    sha256: str | None
    recipe: str | None = None

    def describe(self) -> str:
        """Return it in words, for titles and messages."""
        if self.kind in _FILES:
            return f"{_FILES[self.kind]} {(self.sha256 or '')[:8]}"
        return f"{'ImageNet' if self.kind == 'imagenet' else self.kind} weights"


def describe_weights(submodel: SubModel, weights: WeightsFacts) -> str:
    """Describe a network's weights in words; stock VGG16, the default, is not named."""
    other = submodel.stock is not None and submodel.source != VGG16
    return f"{submodel.stock.title}, {weights.describe()}" if submodel.stock and other else weights.describe()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that is known of a model: the only thing that passes from export to runtime.

    Attributes:
        submodel: What was cut from the network.
        options: In which form it was written.
        weights: Which weights it holds.
        inputs: Its input.
        outputs: Its outputs, one per tap, in the network's order.
        preprocessing: What it does to pixels.
        tools: Versions of the tools that wrote it.
        functions: The activation of each tap's layer, whether the tap shows values after it or before (see
            :mod:`fmedge.model.activations`). Empty for stock networks, whose layers end in ReLU, and in cards of Keras
            models that were written before this field existed.
        views: What the values of each tap see of the image; None where that is not known. Empty for stock networks,
            whose tables say it, and in cards that were written before this field existed.
        recipe: How a precision below float32 was reached, in words; empty for float32.
        parity: Agreement with the reference; None when it was not checked.
        predicted_db: Signal-to-noise ratio per tap, in dB, that the model gives on the parity image when it is computed
            exactly; empty where it is not known beforehand.
        file_sha256: Hash of the model file, or of a pair of files one after the other; None inside the file itself.
        schema: Version of these fields.
    """

    submodel: SubModel
    options: ExportOptions
    weights: WeightsFacts
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    tools: dict[str, str]
    functions: tuple[str, ...] = ()
    views: tuple[TapView | None, ...] = ()
    recipe: dict[str, str] = field(default_factory=dict[str, str])
    parity: Parity | None = None
    predicted_db: dict[str, float] = field(default_factory=dict[str, float])
    file_sha256: str | None = None
    schema: int = CARD_SCHEMA

    @property
    def activation(self) -> Activation:
        """What the taps show."""
        return self.submodel.activation

    def function_of(self, tap: str) -> str:
        """Return the activation of a layer, whether its tap shows values after it or before."""
        known = dict(zip(self.submodel.taps, self.functions, strict=False))
        return known.get(tap, RELU if self.submodel.stock is not None else UNKNOWN)

    def view_of(self, tap: str) -> TapView | None:
        """Return what the values of a tap see of the image; None if that is not known."""
        if self.submodel.stock is not None:
            return self.submodel.stock.views.get(tap)
        return dict(zip(self.submodel.taps, self.views, strict=False)).get(tap)

    def shown(self, tap: str) -> str:
        """Return what a tap shows, in a word: its activation, or ``none`` for the values before it."""
        return str(Activation.NONE) if self.activation is Activation.NONE else self.function_of(tap)

    def describe_activation(self) -> str:
        """Describe what the taps show: ``relu``, ``before sigmoid``, ``conv no activation, act after relu6``."""
        if not self.functions and self.submodel.stock is not None:
            return self.activation
        view = "raw" if self.activation is Activation.NONE else "relu"
        words = {tap: view_words(self.function_of(tap))[view] for tap in self.submodel.taps}
        return words.popitem()[1] if len(words) == 1 else ", ".join(f"{tap} {text}" for tap, text in words.items())

    def describe_weights(self) -> str:
        """Describe which weights the model holds: ``ImageNet weights``, ``VGG19, ImageNet weights``."""
        return describe_weights(self.submodel, self.weights)

    @property
    def format(self) -> Format:
        """Kind of model file."""
        return self.options.format

    @property
    def precision(self) -> Precision:
        """Number format of weights and arithmetic."""
        return self.options.precision

    @property
    def channels(self) -> int:
        """Channels of the deepest tap."""
        deepest = self.outputs[-1]
        return deepest.shape[deepest.layout.index("C")] or 0

    def image_shape(self) -> tuple[int, int, int, int]:
        """Return the input shape (N, H, W, 3); one image of 224 x 224 where the model leaves these open."""
        height, width = self.options.size or INPUT_SIZE
        return self.options.batch or 1, height, width, 3

    def facts(self) -> ModelCard:
        """Return the card without file hash, parity and predictions: the part that the model file contains."""
        return replace(self, parity=None, predicted_db={}, file_sha256=None)

    def facts_json(self) -> str:
        """Return the facts as the model file contains them: JSON on one line, always in the same order."""
        return json.dumps(json.loads(self.facts().to_json()), sort_keys=True)

    def to_json(self) -> str:
        """Return the card as indented JSON text; the same card gives the same text."""
        data = asdict(self)
        data["parity"] = self.parity and self.parity.to_dict()
        for name in ("functions", "views", "predicted_db"):  # absent from cards of stock float models
            if not data[name]:
                del data[name]
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def require_sense(self) -> None:
        """Check that the facts agree with each other, as far as running the model depends on them.

        Raises:
            ArtifactError: They contradict each other, or a tensor is larger than allowed.
        """
        options = self.options
        image = (options.batch, *(options.size or (None, None)), 3)
        sensible = (
            self.submodel.source in SOURCES
            and options.input_dtype in ("uint8", "float32")
            and self.inputs == (TensorSpec(self.inputs[0].name, options.input_dtype, image, "NHWC"),)
            and tuple(spec.name for spec in self.outputs) == self.submodel.taps
            and (not self.functions or (self.submodel.stock is None and len(self.functions) == len(self.outputs)))
            and all(map(is_function, self.functions))
            and (not self.views or (self.submodel.stock is None and len(self.views) == len(self.outputs)))
            and all(len(spec.shape) == 4 and spec.layout == options.layout for spec in self.outputs)
            and self.outputs[-1].shape[options.layout.index("C")] is not None
        )
        if not sensible:
            raise ArtifactError("The card's facts contradict each other. Export the model again.")
        for spec, most in ((self.inputs[0], MAX_INPUT_BYTES), *((spec, MAX_TENSOR_BYTES) for spec in self.outputs)):
            if spec.least_bytes > most:
                raise ArtifactError(
                    f"By its card, '{spec.name}' takes {spec.least_bytes:,} bytes. Allowed: {most:,}. "
                    "Export the model for fewer or smaller images."
                )

    def require_room(self, size: tuple[int, int] | None = None) -> None:
        """Check that there is memory for a run, before anything of that size is allocated.

        Args:
            size: Height and width of the images where the model leaves them open; None takes the stock networks'.

        Raises:
            LimitExceeded: There is less.
        """
        count, (height, width) = self.options.batch or 1, self.options.size or size or INPUT_SIZE
        require_memory(f"A run on {count:,} x {height:,} x {width:,} pixels", self.run_bytes(count, height, width))

    def run_bytes(self, count: int, height: int, width: int) -> int:
        """Estimate the bytes for values when the model runs on so many images of that size in pixels."""
        if self.submodel.stock is not None:
            return run_bytes(self.submodel.stock_layers, count, height, width)
        # The layers in between are not known.
        return count * height * width * 3 * _FLOAT_BYTES + sum(spec.least_bytes for spec in self.outputs)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card.

        Raises:
            ArtifactError: It is not JSON, has another version, or lacks a field.
        """
        try:
            card: ModelCard = read_document(text, cls, _fields)
            card.require_sense()
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(f"The card cannot be read ({reason(error)}). Export the model again.") from error
        except FmedgeError as error:
            raise ArtifactError(str(error), hint=error.hint, flags=error.flags) from error
        return card


def _fields(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a card of this version."""
    schema: object = data["schema"]
    if type(schema) is not int or schema != CARD_SCHEMA:
        raise ArtifactError(
            f"The card has schema {schema}; this version of fmedge reads {CARD_SCHEMA}. Export the model again."
        )
    options, source = dict(data["options"]), data["submodel"]["source"]
    if source in STOCK and options["preprocessing"] == "vgg16":  # no longer written for the stock network
        options["preprocessing"] = None
    return {**data, "options": options}
