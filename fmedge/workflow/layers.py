"""List the layers of a network."""

from __future__ import annotations

from fmedge.errors import UsageError
from fmedge.model.layer_row import LayerRow, vgg16_rows
from fmedge.model.preprocessing import NONE
from fmedge.model.submodel import OWN_SIZE, OwnSize
from fmedge.model.vgg16 import INPUT_SIZE, VGG16_LAYERS
from fmedge.model.weights import choose_keras_file
from fmedge.system.choices import StrPath, find_path


def list_layers(*, keras: StrPath | None = None, size: tuple[int, int] | None = OWN_SIZE) -> list[LayerRow]:
    """Return the layers of a network in the order in which it computes them.

    Args:
        keras: A Keras model, ``.keras`` or ``.h5``; None means stock VGG16. This loads TensorFlow.
        size: Height and width of the image in pixels; by default the network's own. None leaves both open, for Keras
            models only.

    Raises:
        UsageError: A layer does not work at this size.
        WeightsError: The file is missing, damaged, or no whole model.
        BackendUnavailable: TensorFlow is not installed.
    """
    if keras is None:
        height, width = size or INPUT_SIZE
        smallest = VGG16_LAYERS[-1].stride
        if min(height, width) < smallest:
            raise UsageError(
                f"size {height}x{width}: VGG16 halves the image five times. Allowed: {smallest} or more.",
                flags=("--size",),
            )
        return vgg16_rows(height, width)
    choice = choose_keras_file(find_path("keras", keras))
    from fmedge.export.tensorflow.keras_layers import keras_rows
    from fmedge.export.tensorflow.keras_network import load_keras_network

    model = load_keras_network(choice, NONE).model
    own = tuple(model.inputs[0].shape[1:3])
    return keras_rows(model, own if isinstance(size, OwnSize) else size or (None, None))
