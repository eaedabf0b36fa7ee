"""The card: all that is known of a model, as JSON beside its file and, but for the hash and the parity, inside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fmedge.activations import RELU, UNKNOWN, is_function, view_words
from fmedge.errors import ArtifactError, FmedgeError
from fmedge.parity import Parity
from fmedge.preprocessing import Preprocessing
from fmedge.records import parse
from fmedge.submodel import KERAS, VGG16, Activation, Converter, ExportOptions, Format, Precision, SubModel

CARD_SCHEMA = 2
"""Version of the card's fields; another one is refused."""


METADATA_KEY = "fmedge_card"
"""Name of the entry in ONNX' ``metadata_props`` and in TFLite's metadata that holds a card's facts as JSON."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of the model.

    Attributes:
        name: Its name in the file.
        dtype: NumPy's name of the element type.
        shape: Extents in order; ``None`` is any number.
        layout: What the axes are, such as ``NHWC``.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    layout: str

    def describe(self) -> str:
        """In words: ``uint8 N x 224 x 224 x 3 (NHWC)``."""
        extents = " x ".join("N" if extent is None else str(extent) for extent in self.shape)
        return f"{self.dtype} {extents} ({self.layout})"


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """Which weights a model holds.

    Attributes:
        kind: ``imagenet`` (Keras' official file), ``file`` (another one), ``keras`` (a whole model of the
            user's own) or ``untrained``.
        sha256: Hash of the file; None for untrained weights.
        recipe: How untrained weights were drawn; None for others.
    """

    kind: str
    sha256: str | None
    recipe: str | None = None

    def describe(self) -> str:
        """In words, for titles and messages."""
        if self.kind in ("file", "keras"):
            return f"{'weights' if self.kind == 'file' else 'Keras model'} {(self.sha256 or '')[:8]}"
        return f"{'ImageNet' if self.kind == 'imagenet' else self.kind} weights"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that is known of a model: the only thing that passes from export to runtime.

    Attributes:
        submodel: What was cut.
        options: In which form it was written.
        weights: Which weights it holds.
        inputs: Its input.
        outputs: Its outputs, one per tap, in the network's order.
        preprocessing: What it does to pixels.
        tools: Versions of what wrote it.
        functions: Per tap the activation that belongs to the layer, whether the tap shows values after it or before
            (see :mod:`fmedge.activations`). Empty for stock VGG16, whose layers end in ReLU, and in cards of Keras
            models that were written before this field was there.
        recipe: How a precision below float32 was reached, spelled out; empty for float32.
        parity: Agreement with the reference; None when it was not checked.
        predicted_db: Signal-to-noise ratio per tap, in dB, that the model gives on the parity image when it is computed
            exactly; empty where it is not known beforehand.
        file_sha256: Hash of the model file, or of a pair of files one behind the other; None inside the file itself.
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
        """The activation that belongs to a layer, whichever side of it the tap shows."""
        known = dict(zip(self.submodel.taps, self.functions, strict=False))
        return known.get(tap, RELU if self.submodel.source == VGG16 else UNKNOWN)

    def shown(self, tap: str) -> str:
        """What a tap shows, in a word: its activation, or ``none`` for the values before it."""
        return str(Activation.NONE) if self.activation is Activation.NONE else self.function_of(tap)

    def describe_activation(self) -> str:
        """What the taps show, for a person: ``relu``, ``before sigmoid``, ``conv no activation, act after relu6``."""
        if not self.functions and self.submodel.source == VGG16:
            return self.activation
        view = "raw" if self.activation is Activation.NONE else "relu"
        words = {tap: view_words(self.function_of(tap))[view] for tap in self.submodel.taps}
        return words.popitem()[1] if len(words) == 1 else ", ".join(f"{tap} {text}" for tap, text in words.items())

    @property
    def format(self) -> Format:
        """Kind of file."""
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

    def facts(self) -> ModelCard:
        """The card without the file's hash, the parity and the predictions: what stands inside the model file."""
        return replace(self, parity=None, predicted_db={}, file_sha256=None)

    def facts_json(self) -> str:
        """The facts as they stand in the model file: JSON on one line, always in the same order."""
        return json.dumps(json.loads(self.facts().to_json()), sort_keys=True)

    def to_json(self) -> str:
        """The card as indented JSON text; the same card gives the same text."""
        data = asdict(self)
        data["parity"] = self.parity and self.parity.to_dict()
        for name in ("functions", "predicted_db"):  # not in cards of stock float models
            if not data[name]:
                del data[name]
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _require_sense(self) -> None:
        """Check that the facts agree with each other, as far as running the model depends on them."""
        options = self.options
        shapes = [spec.shape for spec in (*self.inputs, *self.outputs)]
        extents = [options.batch, *(options.size or ()), *(extent for shape in shapes for extent in shape)]
        image = (options.batch, *(options.size or (None, None)), 3)
        sensible = (
            all(map(_is_extent, extents))
            and self.submodel.source in (VGG16, KERAS)
            and options.input_dtype in ("uint8", "float32")
            and self.inputs == (TensorSpec(self.inputs[0].name, options.input_dtype, image, "NHWC"),)
            and tuple(spec.name for spec in self.outputs) == self.submodel.taps
            and (not self.functions or (self.submodel.source == KERAS and len(self.functions) == len(self.outputs)))
            and all(map(is_function, self.functions))
            and all(len(spec.shape) == 4 and spec.layout == options.layout for spec in self.outputs)
            and self.outputs[-1].shape[options.layout.index("C")] is not None
        )
        if not sensible:
            raise ArtifactError("The card's facts contradict each other. Export the model again.")

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card.

        Raises:
            ArtifactError: It is not JSON, of another version, or lacks a field.
        """
        try:
            data = parse(text)
            if data["schema"] != CARD_SCHEMA:
                raise ArtifactError(
                    f"The card has schema {data['schema']}; this version reads {CARD_SCHEMA}. Export again."
                )
            submodel = data["submodel"]
            card = cls(
                submodel=SubModel(tuple(submodel["taps"]), Activation(submodel["activation"]), str(submodel["source"])),
                options=_options(data["options"], str(submodel["source"])),
                weights=_weights(data["weights"]),
                inputs=tuple(_tensor_spec(spec) for spec in data["inputs"]),
                outputs=tuple(_tensor_spec(spec) for spec in data["outputs"]),
                preprocessing=_preprocessing(data["preprocessing"]),
                tools={str(name): str(version) for name, version in data["tools"].items()},
                functions=tuple(data.get("functions", ())),
                recipe={str(name): str(text) for name, text in data["recipe"].items()},
                parity=None if data["parity"] is None else Parity.from_dict(data["parity"]),
                predicted_db={str(name): float(value) for name, value in data.get("predicted_db", {}).items()},
                file_sha256=data["file_sha256"],
            )
            card._require_sense()
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(f"The card cannot be read ({type(error).__name__}). Export the model again.") from error
        except FmedgeError as error:
            raise ArtifactError(str(error)) from error
        return card


_MOST = 1 << 20
"""Largest extent of a tensor that is believed."""


def _is_extent(value: object) -> bool:
    return value is None or (type(value) is int and 1 <= value <= _MOST)


def _weights(data: dict[str, Any]) -> WeightsFacts:
    if not all(isinstance(text, str) or text is None for text in data.values()):
        raise ArtifactError("The card's weights are not named by text. Export the model again.")
    return WeightsFacts(**data)


def _preprocessing(data: Any) -> Preprocessing:  # noqa: ANN401 - what JSON holds
    mean, std = (tuple(map(float, values)) for values in (data["mean"], data.get("std", (1.0,))))
    return Preprocessing(str(data["channel_order"]), mean, bool(data["in_model"]), float(data.get("scale", 1.0)), std)


def _options(data: dict[str, Any], source: str) -> ExportOptions:
    chosen: Any = data["preprocessing"]
    if source == VGG16 and chosen == "vgg16":  # as cards of the stock network said before it was left out there
        chosen = None
    named: dict[str, Any] = {
        **data,
        "format": Format(data["format"]),
        "precision": Precision(data["precision"]),
        "converter": data["converter"] and Converter(data["converter"]),
        "size": data["size"] and (int(data["size"][0]), int(data["size"][1])),
        "preprocessing": _preprocessing(chosen) if isinstance(chosen, dict) else chosen,
    }
    return ExportOptions(**named)


def _tensor_spec(data: dict[str, Any]) -> TensorSpec:
    return TensorSpec(str(data["name"]), str(data["dtype"]), tuple(data["shape"]), str(data["layout"]))
