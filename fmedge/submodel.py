"""What is cut out of VGG16, and the name of the file that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fmedge.errors import UsageError, closest
from fmedge.vgg16 import LAYER_NAMES, find_layer


class Activation(StrEnum):
    """What is seen of a convolution: its output after ReLU, or before."""

    RELU = "relu"
    NONE = "none"


class Format(StrEnum):
    """Kind of model file; the value is the file's suffix."""

    ONNX = "onnx"


class Precision(StrEnum):
    """Number format of weights and arithmetic."""

    FP32 = "fp32"


def find_activation(name: str) -> Activation:
    """The activation of that name.

    Raises:
        UsageError: There is none.
    """
    try:
        return Activation(name)
    except ValueError as error:
        raise UsageError(f"Unknown activation '{name}'.{closest(name, Activation)} Allowed: relu, none.") from error


@dataclass(frozen=True, slots=True)
class SubModel:
    """VGG16 cut after one or more layers.

    Attributes:
        taps: Names of the layers whose outputs leave the model, in the network's order.
        activation: Whether the taps show values after ReLU or before. Layers on the way to a tap
            always keep their ReLU.
        source: The network: ``"vgg16"``, Keras' stock model.

    Raises:
        UsageError: A layer is unknown or named twice, there is none, or a pool is asked for
            without a ReLU it does not have.
    """

    taps: tuple[str, ...]
    activation: Activation = Activation.RELU
    source: str = "vgg16"

    def __post_init__(self) -> None:
        if not self.taps:
            raise UsageError("No layer given. Name one with --layer. All: fmedge layers.")
        specs = [find_layer(name) for name in self.taps]
        if len(set(self.taps)) < len(self.taps):
            raise UsageError(f"A layer is named twice in '{'+'.join(self.taps)}'. Name each once.")
        in_order = tuple(sorted(self.taps, key=LAYER_NAMES.index))
        object.__setattr__(self, "taps", in_order)
        if self.activation is Activation.NONE:
            for spec in specs:
                if spec.kind == "pool":
                    raise UsageError(
                        f"'{spec.name}' is a pool: it has no ReLU to leave out. Use --activation relu, "
                        f"or a convolution such as '{spec.name.replace('pool', 'conv1')}'."
                    )

    @property
    def deepest(self) -> str:
        """Name of the last layer that has to be computed."""
        return self.taps[-1]

    @property
    def label(self) -> str:
        """The taps as one word: ``block1_conv1`` or ``block1_conv1+block3_pool``."""
        return "+".join(self.taps)

    def artifact_name(self, model_format: Format, precision: Precision, *tokens: str) -> str:
        """File name of the artifact, such as ``block1_conv1.relu.fp32.onnx``.

        Args:
            model_format: Gives the suffix.
            precision: Stands after the activation.
            *tokens: One word for every choice that is not the default; empty ones are left out.
        """
        words = [self.label, self.activation, precision, *filter(None, tokens), model_format]
        return ".".join(words)


def require_channel(layer: str, channels: int, index: int) -> None:
    """Check that a layer has a channel of that number, counted from 0.

    Raises:
        UsageError: It has not.
    """
    if not 0 <= index < channels:
        raise UsageError(f"No channel {index} in {layer}. Allowed: 0 to {channels - 1}. All layers: fmedge layers.")
