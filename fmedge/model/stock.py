"""The stock networks as tables: Keras' VGG16 and VGG19 without their tops.

Architecture: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015),
configurations D and E. Names are those of ``keras.applications``. Convolutions are 3x3, stride 1, zero-padded to the
same size; pools are 2x2 maxima with stride 2, an odd last row or column dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from fmedge.errors import UsageError, closest
from fmedge.model.tap_view import TapView
from fmedge.system.choices import one_of

KERNEL_SIZE = 3
"""Height and width of every convolution kernel, in pixels."""

INPUT_SIZE = (224, 224)
"""Height and width of the images that the stock networks were trained on, in pixels."""


class LayerSpec(NamedTuple):
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


class OfficialFile(NamedTuple):
    """Keras' own file of ImageNet weights.

    Attributes:
        name: Its name.
        md5: Its hash as given in ``keras/src/applications``.
        size_bytes: Its size.
        folder: The part of its address before the name.
    """

    name: str
    md5: str
    size_bytes: int
    folder: str

    @property
    def url(self) -> str:
        """Where it can be downloaded."""
        return f"{self.folder}/{self.name}"


class StockTable(NamedTuple):
    """A stock network.

    Attributes:
        title: Its name for a person to read.
        layers: Its layers in order.
        weights: The file of its official weights.
    """

    title: str
    layers: tuple[LayerSpec, ...]
    weights: OfficialFile

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its layers."""
        return tuple(spec.name for spec in self.layers)

    @property
    def views(self) -> Mapping[str, TapView]:
        """What the values of each layer see of the image; the map begins at its corner."""
        found = dict[str, TapView]()
        for spec in self.layers:
            stride, field, centre = spec.stride, spec.receptive_field, spec.stride / 2
            found[spec.name] = TapView((stride, stride), (field, field), (centre, centre))
        return found

    def find(self, name: str) -> LayerSpec:
        """Return the layer with that name.

        Raises:
            UsageError: There is no such layer; the message names the closest one.
        """
        for spec in self.layers:
            if spec.name == name:
                return spec
        network = "" if self is STOCK[VGG16] else f" --network {self.title.lower()}"
        raise UsageError(f"Unknown layer '{name}'.{closest(name, self.names)}", hint=f"All: fmedge layers{network}.")

    def through(self, name: str) -> tuple[LayerSpec, ...]:
        """Return all layers from the first one to the named one, included.

        Raises:
            UsageError: There is no such layer.
        """
        return self.layers[: self.layers.index(self.find(name)) + 1]

    def pool_after(self, name: str) -> str | None:
        """Return the name of the pool that follows a convolution, or None."""
        following = self.layers[self.layers.index(self.find(name)) + 1]
        return following.name if following.kind == "pool" else None


_BLOCK_CHANNELS = (64, 128, 256, 512, 512)
"""Output channels of the five blocks; a pool ends each."""


def _layers(convolutions: tuple[int, ...]) -> tuple[LayerSpec, ...]:
    """Return the layers of a VGG network with so many convolutions per block."""
    layers = list[LayerSpec]()
    channels, stride, field = 3, 1, 1
    for block, (count, width) in enumerate(zip(convolutions, _BLOCK_CHANNELS, strict=True), 1):
        for number in range(1, count + 1):
            field += (KERNEL_SIZE - 1) * stride
            layers.append(LayerSpec(f"block{block}_conv{number}", "conv", channels, width, stride, field))
            channels = width
        field += stride
        stride *= 2
        layers.append(LayerSpec(f"block{block}_pool", "pool", channels, channels, stride, field))
    return tuple(layers)


def _file(network: str, md5: str, size_bytes: int) -> OfficialFile:
    folder = f"https://storage.googleapis.com/tensorflow/keras-applications/{network}"
    return OfficialFile(f"{network}_weights_tf_dim_ordering_tf_kernels_notop.h5", md5, size_bytes, folder)


VGG16 = "vgg16"
VGG19 = "vgg19"

STOCK: Mapping[str, StockTable] = {
    VGG16: StockTable("VGG16", _layers((2, 2, 3, 3, 3)), _file(VGG16, "6d6bbae143d832006294945121d1f1fc", 58_889_256)),
    VGG19: StockTable("VGG19", _layers((2, 2, 4, 4, 4)), _file(VGG19, "253f8cb515780f3b799900260a226db6", 80_134_624)),
}
"""The stock networks by the names that ``network`` takes."""

VGG16_LAYERS = STOCK[VGG16].layers
"""The 18 layers of VGG16."""


APPLICATIONS = (
    *("convnextbase", "convnextlarge", "convnextsmall", "convnexttiny", "convnextxlarge"),
    *("densenet121", "densenet169", "densenet201"),
    *(f"efficientnetb{number}" for number in range(8)),
    *(f"efficientnetv2{size}" for size in ("b0", "b1", "b2", "b3", "l", "m", "s")),
    *("inceptionresnetv2", "inceptionv3", "mobilenet", "mobilenetv2", "mobilenetv3large", "mobilenetv3small"),
    *("nasnetlarge", "nasnetmobile", "resnet101", "resnet101v2", "resnet152", "resnet152v2", "resnet50", "resnet50v2"),
    "xception",
)
"""The other networks of ``keras.applications``, in small letters: Keras builds them, for a file of weights alone."""


def find_network(network: object, *others: object) -> str:
    """Return the stock network, or the one of :data:`APPLICATIONS`, of that name; None stands for VGG16.

    Args:
        network: Its name.
        others: What may be given instead of it: a Keras model, an ONNX network.

    Raises:
        UsageError: There is no such network, or more than one is given.
    """
    if sum(given is not None for given in (network, *others)) > 1:
        raise UsageError(
            "network, keras and onnx exclude each other. Give one.", flags=("--network", "--keras", "--onnx")
        )
    name = network.lower() if isinstance(network, str) else network
    if name in APPLICATIONS:
        return str(name)
    return VGG16 if network is None else one_of("network", name, tuple(STOCK))
