"""List the layers of a network."""

from __future__ import annotations

from fmedge.errors import UsageError
from fmedge.model.layer_row import LayerRow, stock_rows
from fmedge.model.preprocessing import NONE
from fmedge.model.stock import APPLICATIONS, INPUT_SIZE, STOCK, StockTable, find_network
from fmedge.model.submodel import ONNX, OWN_SIZE, OwnSize
from fmedge.system.choices import StrPath


def list_layers(
    *,
    network: str | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    size: tuple[int, int] | None = OWN_SIZE,
) -> list[LayerRow]:
    """Return the layers of a network in the order in which it computes them.

    Args:
        network: A stock network, ``vgg16``, which is the default, or ``vgg19``, or another one of
            ``keras.applications``, which loads TensorFlow.
        keras: A Keras model, ``.keras`` or ``.h5``, instead; this loads TensorFlow.
        onnx: An ONNX file instead.
        size: Height and width of the image in pixels; by default the network's own. None leaves both open, except for
            stock networks.

    Raises:
        UsageError: A layer does not work at this size, or more than one network is given.
        WeightsError: The file is missing, damaged, or no whole model.
        BackendUnavailable: TensorFlow is not installed.
    """
    stock, own = find_network(network, keras, onnx), None
    if keras is not None or onnx is not None:
        from fmedge.workflow.own_networks import read_own_network  # needs NumPy

        own = read_own_network(keras=keras, onnx=onnx)
    if stock in APPLICATIONS:
        from fmedge.export.tensorflow.keras_applications import untrained_application
        from fmedge.export.tensorflow.keras_layers import keras_rows

        return keras_rows(untrained_application(stock), size or (None, None))
    if own is None:
        return _stock_layers(STOCK[stock], *(size or INPUT_SIZE))
    if own.source == ONNX:
        from fmedge.export.onnx_source.network import load_onnx_network
        from fmedge.export.onnx_source.rows import onnx_rows

        graph = load_onnx_network(own.choice, NONE).graph
        return onnx_rows(graph, graph.takes.size if isinstance(size, OwnSize) else size or (None, None))
    from fmedge.export.tensorflow.keras_layers import keras_rows
    from fmedge.export.tensorflow.keras_network import load_keras_network

    model = load_keras_network(own.choice, NONE).model
    height, width = model.inputs[0].shape[1:3]
    return keras_rows(model, (height, width) if isinstance(size, OwnSize) else size or (None, None))


def _stock_layers(stock: StockTable, height: int, width: int) -> list[LayerRow]:
    smallest = stock.layers[-1].stride
    if min(height, width) < smallest:
        raise UsageError(
            f"size {height}x{width}: {stock.title} halves the image five times. Allowed: {smallest} or more.",
            flags=("--size",),
        )
    return stock_rows(stock.layers, height, width)
