"""What to cut from a network, in which form to write it, and the name of the file that holds it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, cast, get_args

from fmedge.errors import UsageError
from fmedge.model.activations import short_name
from fmedge.model.preprocessing import NONE, Preprocessing, canonical
from fmedge.model.stock import INPUT_SIZE, STOCK, VGG16, LayerSpec, StockTable
from fmedge.system.choices import one_of, require_switch, require_whole

KERAS = "keras"
ONNX = "onnx"
"""Sources of a sub-model besides the stock networks: a Keras model or ONNX file of the user's own."""

SOURCES = (*STOCK, KERAS, ONNX)

ALL = "all"
"""Stands for every tap of a stock network, as a layer's name and in a file name."""


class Activation(StrEnum):
    """Which values of a layer are shown.

    ``relu`` is the layer's own output, after whatever activation it has (in stock networks always ReLU); ``none`` is
    the values before the activation. For a layer without an activation both are the same.
    """

    RELU = "relu"
    NONE = "none"


class Format(StrEnum):
    """Kind of model file."""

    ONNX = "onnx"
    TFLITE = "tflite"
    NCNN = "ncnn"
    NATIVE = "native"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of its files: first the one that names the artifact; a second one holds the weights."""
        return _SUFFIXES[self]


_SUFFIXES = {
    Format.ONNX: (".onnx",),
    Format.TFLITE: (".tflite",),
    Format.NCNN: (".ncnn.param", ".ncnn.bin"),
    Format.NATIVE: (".fmchain",),
}


def format_of(name: str) -> Format | None:
    """Return the format that a file's name reveals; None where it reveals none."""
    return next((kind for kind in Format if name.endswith(kind.suffixes[0])), None)


class Precision(StrEnum):
    """Number format of weights and arithmetic; input and output are as the options say."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


MAX_FLOAT16 = 65_504.0
"""The largest value that float16 can hold; larger ones become infinite (IEEE 754, binary16)."""


class Converter(StrEnum):
    """What writes the model file."""

    DIRECT = "direct"
    TF2ONNX = "tf2onnx"
    TENSORFLOW = "tensorflow"
    PNNX = "pnnx"


Layout = Literal["NCHW", "NHWC"]

_OWN_LAYOUTS: dict[Format, Layout] = {
    Format.ONNX: "NCHW",
    Format.TFLITE: "NHWC",
    Format.NCNN: "NCHW",
    Format.NATIVE: "NCHW",
}


def own_converter(source: str, model_format: Format, precision: Precision) -> Converter:
    """Return the default converter of a format for a network: straight from the weights where that is possible."""
    if model_format is Format.NCNN and source not in STOCK:
        return Converter.PNNX
    if model_format is Format.NATIVE:
        return Converter.TF2ONNX if source == KERAS else Converter.DIRECT
    if model_format is Format.NCNN or source == ONNX:
        return Converter.DIRECT
    if source in STOCK and (model_format is Format.ONNX or precision is Precision.INT8):
        return Converter.DIRECT
    return Converter.TF2ONNX if model_format is Format.ONNX else Converter.TENSORFLOW


def find_activation(name: str) -> Activation:
    """Return the activation of that name.

    Raises:
        UsageError: There is none.
    """
    return one_of("activation", name, Activation)


def every_tap(source: str, activation: Activation) -> tuple[str, ...]:
    """Return the layers of a stock network that can be shown this way: all after ReLU, the convolutions before it."""
    return tuple(spec.name for spec in STOCK[source].layers if spec.kind == "conv" or activation is Activation.RELU)


@dataclass(frozen=True, slots=True)
class SubModel:
    """A network cut after one or more layers.

    Attributes:
        taps: Names of the layers whose outputs the model returns, in the network's order.
        activation: Whether the taps show values after the layers' activation or before. Layers on the way to a tap
            always keep their activation.
        source: The network: ``"vgg16"`` or ``"vgg19"``, Keras' stock models, or ``"keras"`` or ``"onnx"``, a network of
            the user's own, whose layers are known only once it is loaded.

    Raises:
        UsageError: A layer is unknown or named twice, no layer is named, a pool is requested before ReLU, which it does
            not have, or a value is not allowed.
    """

    taps: tuple[str, ...]
    activation: Activation = Activation.RELU
    source: str = VGG16

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", find_activation(self.activation))
        object.__setattr__(self, "source", one_of("source", self.source, SOURCES))
        taps = cast("Iterable[object]", self.taps)
        if isinstance(taps, str) or not all(isinstance(name, str) for name in taps):
            raise UsageError(f"taps: got {self.taps!r}. Allowed: a tuple of layer names, such as ('block1_conv1',).")
        object.__setattr__(self, "taps", tuple(self.taps))
        if not self.taps:
            raise UsageError("No layer given.", hint="Name one with --layer. All: fmedge layers.")
        if len(set(self.taps)) < len(self.taps):
            raise UsageError(f"A layer is named twice in '{'+'.join(self.taps)}'. Name each once.")
        if self.stock is not None:
            self._sort_and_check(self.stock)

    def _sort_and_check(self, stock: StockTable) -> None:
        specs = sorted(map(stock.find, self.taps), key=stock.layers.index)
        object.__setattr__(self, "taps", tuple(spec.name for spec in specs))
        for spec in specs:
            if spec.kind == "pool" and self.activation is Activation.NONE:
                raise UsageError(
                    f"'{spec.name}' is a pooling layer: it has no ReLU to leave out.",
                    hint=f"Use --activation relu, or a convolution such as '{spec.name.replace('pool', 'conv1')}'.",
                )

    @property
    def stock(self) -> StockTable | None:
        """The table of the stock network; None for a network of the user's own."""
        return STOCK.get(self.source)

    @property
    def stock_layers(self) -> tuple[LayerSpec, ...]:
        """The layers of a stock network that must be computed; empty for a network of the user's own."""
        return () if self.stock is None else self.stock.through(self.deepest)

    @property
    def deepest(self) -> str:
        """Name of the last layer that must be computed."""
        return self.taps[-1]

    @property
    def label(self) -> str:
        """The taps as one word for a file name: ``block1_conv1``, ``block1_conv1+block3_pool``, ``all``."""
        if self.stock is not None and self.taps == every_tap(self.source, self.activation):
            return ALL
        return file_word("+".join(self.taps))


_DEVICES = r"CON|PRN|AUX|NUL|(COM|LPT)\d"
"""Names that Windows keeps for devices, whatever suffix follows ("Naming Files, Paths, and Namespaces", Microsoft)."""


def file_word(name: str) -> str:
    """Turn one or more layer names into a word that is safe in a file name; different names give different words."""
    plain = re.sub(r"[^A-Za-z0-9_+-]", "_", name)[:120]
    safe = plain == name and not re.fullmatch(_DEVICES, name, re.IGNORECASE)
    return plain if safe else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class OwnSize(tuple[int, int]):
    """The size when none is requested: 224 x 224 for stock networks, the network's own for others."""


OWN_SIZE = OwnSize(INPUT_SIZE)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """In which form a sub-model is written. The defaults give the short file name.

    Attributes:
        format: Kind of file.
        precision: Number format.
        converter: What writes it; None takes :func:`own_converter`.
        input_dtype: Element type of the image: ``uint8``, or ``float32`` with values of 0 to 255.
        size: Height and width of the image in pixels; None leaves both open. The default is the network's own.
        batch: Images per run; None leaves it open.
        output_layout: ``NCHW`` or ``NHWC``; None takes the format's own (TFLite NHWC, the others NCHW).
        preprocessing: How pixels must be prepared for a Keras model of the user's own: a name in
            :data:`fmedge.model.preprocessing.PREPROCESSINGS` (``caffe``, with ``vgg16`` as its synonym, ``tf``,
            ``torch``, ``unit``, ``none``) or the formula itself. None takes the network's own: stock networks have one,
            and a model that begins with Rescaling or Normalization needs none.
        float_tap: With int8: whether the last convolution is computed in float.
        seven_bit: With int8: weights of 7 bits, which cannot saturate the 16-bit sums of x86 processors without VNNI.

    A word stands for the member of its enumeration: ``precision="fp16"`` is ``Precision.FP16``.

    Raises:
        UsageError: A value is not allowed.
    """

    format: Format = Format.ONNX
    precision: Precision = Precision.FP32
    converter: Converter | None = None
    input_dtype: Literal["uint8", "float32"] = "uint8"
    size: tuple[int, int] | None = OWN_SIZE
    batch: int | None = None
    output_layout: Layout | None = None
    preprocessing: str | Preprocessing | None = None
    float_tap: bool = False
    seven_bit: bool = False

    def __post_init__(self) -> None:
        for name, allowed in _WORDS.items():
            value: object = getattr(self, name)
            if value is not None or name not in _MAY_BE_NONE:
                object.__setattr__(self, name, one_of(name, value, allowed))
        require_switch("float_tap", self.float_tap)
        require_switch("seven_bit", self.seven_bit)
        require_whole("batch", self.batch, unset="any number of images")
        if self.size is not None and not isinstance(self.size, OwnSize):
            object.__setattr__(self, "size", _pair(self.size))
        if self.output_layout == _OWN_LAYOUTS[self.format]:
            object.__setattr__(self, "output_layout", None)
        if self.preprocessing is not None and not isinstance(self.preprocessing, Preprocessing):
            object.__setattr__(self, "preprocessing", canonical(self.preprocessing))

    @property
    def layout(self) -> Layout:
        """The layout of the outputs."""
        return self.output_layout or _OWN_LAYOUTS[self.format]

    @property
    def tokens(self) -> tuple[str, ...]:
        """Return one word for every choice that is not the default."""
        size = "dynamic" if self.size is None else "x".join(map(str, self.size))
        return tuple(
            word
            for word, chosen in (
                (str(self.converter), self.converter is not None),
                (f"{self.input_dtype}in", self.input_dtype != "uint8"),
                (size, self.size != INPUT_SIZE),
                (f"b{self.batch}", self.batch is not None),
                (str(self.output_layout).lower(), self.output_layout is not None),
                (_preprocessing_word(self.preprocessing), self.preprocessing is not None),
                ("tapfloat", self.float_tap),
                ("7bit", self.seven_bit),
            )
            if chosen
        )


_WORDS: dict[str, tuple[str, ...]] = {
    "format": tuple(Format),
    "precision": tuple(Precision),
    "converter": tuple(Converter),
    "input_dtype": ("uint8", "float32"),
    "output_layout": get_args(Layout),
}
"""Allowed words of the options; for an enumeration its members."""

_MAY_BE_NONE = ("converter", "output_layout")


def _pair(size: object) -> tuple[int, int]:
    if not isinstance(size, (tuple, list)) or len(found := tuple(cast("Sequence[object]", size))) != 2:
        raise UsageError(f"size: got {size!r}. Allowed: (height, width), or None (any size).")
    for extent in found:
        require_whole("size", extent)
    height, width = (int(cast("int", extent)) for extent in found)
    return height, width


def _preprocessing_word(chosen: str | Preprocessing | None) -> str:
    if isinstance(chosen, Preprocessing):
        return f"own-{hashlib.sha256(repr(chosen).encode()).hexdigest()[:8]}"
    return "plain" if chosen == NONE else str(chosen)


def artifact_name(
    submodel: SubModel, options: ExportOptions, weights_token: str = "", functions: tuple[str, ...] = ()
) -> str:
    """Return the file name of an artifact, such as ``block1_conv1.relu.fp32.onnx`` or ``conv.sigmoid.fp32.plain.onnx``.

    Args:
        submodel: Gives layer and activation.
        options: Give the precision, the suffix and a word for every choice that is not the default.
        weights_token: A word for weights other than the official ones.
        functions: The activation of each tap's layer, as in a card.
    """
    if submodel.stock is not None:  # its own preprocessing needs no word
        options = replace(options, preprocessing=None)
    shown = str(submodel.activation)
    if submodel.activation is Activation.RELU and functions:
        shown = file_word("+".join(dict.fromkeys(map(short_name, functions))))
    network = submodel.source if submodel.stock is not None and submodel.source != VGG16 else ""
    words = [submodel.label, shown, options.precision, network, weights_token, *options.tokens]
    return ".".join(filter(None, words)) + options.format.suffixes[0]


def require_channel(layer: str, channels: int, index: int) -> None:
    """Check that a layer has a channel of that number, counted from 0.

    Raises:
        UsageError: It does not.
    """
    require_whole("channel", index)
    if not 0 <= index < channels:
        raise UsageError(
            f"No channel {index} in {layer}. Allowed: 0 to {channels - 1}.", hint="All layers: fmedge layers."
        )
