"""Networks of the user's own: which file, what it takes, which layers it has, and what the options leave open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from fmedge.errors import LimitExceeded, UsageError
from fmedge.model.network_input import NetworkInput
from fmedge.model.preprocessing import NONE, for_channels
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import KERAS, ONNX, ExportOptions, OwnSize
from fmedge.model.weights import WeightsChoice, choose_keras_file, choose_onnx_file
from fmedge.system.choices import StrPath, find_path

MAX_OWN_PIXELS = 1 << 20
"""Most pixels that a file's own size may have: no stock network exceeds 600 x 600. The user must name larger sizes."""


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """A network of the user's own, as far as it is known before it is loaded.

    Attributes:
        source: ``"keras"`` or ``"onnx"``.
        choice: The file.
        takes: What it takes; None if a Keras model's configuration does not say.
        names: Every name that its layers can be requested by.
    """

    source: str
    choice: WeightsChoice
    takes: NetworkInput | None
    names: Collection[str]


def read_application(network: str, weights: object) -> OwnNetwork:
    """Take a network of ``keras.applications`` with a file of its weights; its layers are known once Keras builds it.

    Args:
        network: One of :data:`fmedge.model.stock.APPLICATIONS`.
        weights: The file that ``save_weights`` wrote.

    Raises:
        UsageError: No file is given.
        WeightsError: There is no such file.
    """
    if weights is None or weights in ("imagenet", "untrained"):
        raise UsageError(
            f"network {network} needs a file of its weights.",
            hint="Write it with Keras' save_weights and give it: --weights FILE.",
            flags=("--network",),
        )
    choice = choose_keras_file(find_path("weights", weights), network)
    return OwnNetwork(KERAS, choice, NetworkInput(((None, *INPUT_SIZE, 3),)), ())


def read_own_network(*, keras: StrPath | None = None, onnx: StrPath | None = None) -> OwnNetwork | None:
    """Read what can be known of a user's own network; None if none is given.

    Args:
        keras: A Keras model, ``.keras`` or ``.h5``.
        onnx: An ONNX file.

    Raises:
        UsageError: The ONNX model takes no image.
        WeightsError: There is no such file, or it is no such model.
    """
    if keras is not None:
        path = find_path("keras", keras)
        choice = choose_keras_file(path)
        from fmedge.model.keras_config import read_config
        from fmedge.model.keras_input import layer_names, read_input

        config = read_config(path).config
        return OwnNetwork(KERAS, choice, read_input(config), layer_names(config))
    if onnx is not None:
        path = find_path("onnx", onnx)
        choice = choose_onnx_file(path)
        from fmedge.export.onnx_source.graph import graph_of
        from fmedge.export.onnx_source.reading import read_onnx

        graph = graph_of(read_onnx(path))
        return OwnNetwork(ONNX, choice, graph.takes, graph.all_names)
    return None


def settle_options(options: ExportOptions, own: NetworkInput | None) -> tuple[ExportOptions, tuple[str, ...]]:
    """Fill in the options that a user left open, for a user's own network.

    Args:
        options: The options as requested.
        own: What the model takes; None if a Keras model's configuration does not say.

    Returns:
        The options, and notes on what was found.

    Raises:
        UsageError: The model takes no image, or neither the model nor the options say its size or its preprocessing.
        LimitExceeded: The model's own size is larger than :data:`MAX_OWN_PIXELS`.
    """
    if own is not None:
        own.require_image()
    size, preprocessing, notes = options.size, options.preprocessing, list[str]()
    if isinstance(size, OwnSize):
        size = _own_size(own)
    prepares = own is not None and (own.prepared_by or own.integer)
    if preprocessing is None and not prepares:
        what = own.what if own else "Keras model"
        raise UsageError(
            f"This {what} needs preprocessing. Allowed: caffe (as VGG16), tf, torch, unit (/ 255), none; "
            "or scale S mean M std D order rgb|bgr.",
            flags=("--preprocessing", "--scale", "--mean", "--std", "--order"),
        )
    if own is not None and prepares:
        by = f"'{own.prepared_by}' in the model prepares the pixels" if own.prepared_by else "The model takes integers"
        if preprocessing is None:
            preprocessing = NONE
            notes.append(f"Note: {by}: nothing is added to it (--preprocessing none).")
        elif own.integer and preprocessing != NONE:
            raise UsageError(f"{by}: there is nothing to be done to them before.", hint="Use --preprocessing none.")
        elif preprocessing != NONE:
            notes.append(f"Note: {by}, too, after the preprocessing asked for. For nothing else: --preprocessing none.")
    for_channels(preprocessing or NONE, own and own.channels)
    return replace(options, size=size, preprocessing=preprocessing), tuple(notes)


def _own_size(own: NetworkInput | None) -> tuple[int, int] | None:
    if own is None:
        raise UsageError(
            "The Keras model's file does not tell its size.", hint="Say which: --size HEIGHTxWIDTH, or dynamic."
        )
    height, width = own.size
    if height is None and width is None:
        return None
    if height is None or width is None:
        takes = f"{height or 'any'} x {width or 'any'}"
        raise UsageError(f"The {own.what} takes {takes} pixels.", hint="Say which: --size HEIGHTxWIDTH, or dynamic.")
    if height * width > MAX_OWN_PIXELS:
        raise LimitExceeded(
            f"The {own.what} takes {height:,} x {width:,} pixels.",
            hint=f"If that is meant, say so: --size {height}x{width}.",
        )
    return height, width
