"""The 18 layers of Keras' VGG16 without its top, as a table.

Architecture: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015),
configuration D. Names are those of ``keras.applications.VGG16``. Convolutions are 3x3, stride 1, zero-padded to the
same size; pools are 2x2 maxima with stride 2, an odd last row or column dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmedge.errors import UsageError, closest

KERNEL_SIZE = 3
"""Height and width of every convolution kernel, in pixels."""

INPUT_SIZE = (224, 224)
"""Height and width of the images that VGG16 was trained on, in pixels."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of the network.

    Attributes:
        name: Keras' name.
        kind: ``"conv"`` or ``"pool"``.
        in_channels: Input channels.
        channels: Output channels.
        stride: Input pixels between two neighbouring values of the layer's output.
        receptive_field: Height and width, in input pixels, of what one value can see: 3 for the first layer, +2*stride
            for a convolution, +stride (before it) for a pool.
    """

    name: str
    kind: Literal["conv", "pool"]
    in_channels: int
    channels: int
    stride: int
    receptive_field: int

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        if self.kind == "pool":
            return 0
        return (KERNEL_SIZE**2 * self.in_channels + 1) * self.channels

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the output shape (channels, height, width) for an input image of that size in pixels."""
        return self.channels, height // self.stride, width // self.stride

    def macs(self, height: int, width: int) -> int:
        """Return the multiply-accumulate operations of this layer alone for an input image of that size in pixels."""
        if self.kind == "pool":
            return 0
        _, rows, columns = self.output_shape(height, width)
        return rows * columns * KERNEL_SIZE**2 * self.in_channels * self.channels


VGG16_LAYERS: tuple[LayerSpec, ...] = (
    LayerSpec("block1_conv1", "conv", 3, 64, 1, 3),
    LayerSpec("block1_conv2", "conv", 64, 64, 1, 5),
    LayerSpec("block1_pool", "pool", 64, 64, 2, 6),
    LayerSpec("block2_conv1", "conv", 64, 128, 2, 10),
    LayerSpec("block2_conv2", "conv", 128, 128, 2, 14),
    LayerSpec("block2_pool", "pool", 128, 128, 4, 16),
    LayerSpec("block3_conv1", "conv", 128, 256, 4, 24),
    LayerSpec("block3_conv2", "conv", 256, 256, 4, 32),
    LayerSpec("block3_conv3", "conv", 256, 256, 4, 40),
    LayerSpec("block3_pool", "pool", 256, 256, 8, 44),
    LayerSpec("block4_conv1", "conv", 256, 512, 8, 60),
    LayerSpec("block4_conv2", "conv", 512, 512, 8, 76),
    LayerSpec("block4_conv3", "conv", 512, 512, 8, 92),
    LayerSpec("block4_pool", "pool", 512, 512, 16, 100),
    LayerSpec("block5_conv1", "conv", 512, 512, 16, 132),
    LayerSpec("block5_conv2", "conv", 512, 512, 16, 164),
    LayerSpec("block5_conv3", "conv", 512, 512, 16, 196),
    LayerSpec("block5_pool", "pool", 512, 512, 32, 212),
)

LAYER_NAMES: tuple[str, ...] = tuple(spec.name for spec in VGG16_LAYERS)


def find_layer(name: str) -> LayerSpec:
    """Return the layer with that name.

    Raises:
        UsageError: There is no such layer; the message names the closest one.
    """
    for spec in VGG16_LAYERS:
        if spec.name == name:
            return spec
    raise UsageError(f"Unknown layer '{name}'.{closest(name, LAYER_NAMES)}", hint="All: fmedge layers.")


def layers_through(name: str) -> tuple[LayerSpec, ...]:
    """Return all layers from the first one to the named one, included.

    Raises:
        UsageError: There is no such layer.
    """
    return VGG16_LAYERS[: VGG16_LAYERS.index(find_layer(name)) + 1]
