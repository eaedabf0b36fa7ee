"""List the layers of a Keras model: what each gives, what it costs, and what one of its values sees of the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, cast

from fmedge.errors import UsageError
from fmedge.export.tensorflow.keras_calls import Place, calls, name_of
from fmedge.export.tensorflow.keras_import import Call, Layer, Model, is_graph, keras, reason_of
from fmedge.export.tensorflow.keras_taps import Readers, activation_of, around, obstacle_of, readers_in, tap_at
from fmedge.export.views import (
    PIXEL,
    WHOLE,
    Views,
    Window,
    point,
    resized,
    same_padding,
    tap_view,
    transposed,
    views_after,
    window,
)
from fmedge.model.activations import LINEAR
from fmedge.model.layer_row import LayerRow
from fmedge.model.submodel import Activation

_POINTWISE = (
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "BatchNormalization", "LayerNormalization"),
    *("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization"),
    *("Add", "Subtract", "Multiply", "TrueDivide", "Maximum", "Minimum", "Average", "Concatenate", "Identity", "Cast"),
    *("Rescaling", "Normalization", "LayerScale", "StochasticDepth", "CustomScaleLayer"),
)
"""Layers and operations of which a value sees one place of their input; also what begins with ``Random``, which is off
at inference, and every activation."""

_ALONG_CHANNELS = ("LayerNormalization", "Softmax")
"""Those of them that look at all channels of a place, unless they have another axis."""

_WHOLE = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")
"""Layers of which a value sees the whole image."""

_AXES = 4

_WINDOWS: Mapping[str, str] = {
    "Conv2D": "kernel_size",
    "DepthwiseConv2D": "kernel_size",
    "SeparableConv2D": "kernel_size",
    "MaxPooling2D": "pool_size",
    "AveragePooling2D": "pool_size",
}
"""Layers of which a value sees a window, and what holds its height and width."""


class _Value(NamedTuple):
    """A tensor: its shape and dtype, and what its values see of rows and columns; empty if that is not known."""

    spec: Any
    views: Views


def keras_rows(model: Model, size: tuple[int | None, int | None]) -> list[LayerRow]:
    """Return the layers of a model in the order in which it calls them; those in nested models come before these.

    Args:
        model: Sequential or functional.
        size: Height and width of the image; None for any.

    Raises:
        UsageError: A layer does not work at this size.
    """
    found = list(_walk(model, [_image(model, size)], ()))
    names = _names([place for place, *_ in found])
    insides = {id(inside): inside for inside in (around(model, place) for place, *_ in found)}
    readers = {key: readers_in(inside) for key, inside in insides.items()}
    return [
        _row(name, place, readers[id(around(model, place))], before, after)
        for name, (place, before, after) in zip(names, found, strict=True)
    ]


def keras_views(model: Model, places: Sequence[Place], size: tuple[int | None, int | None]) -> list[Views]:
    """Return what the values of the outputs of calls see of the image.

    Raises:
        UsageError: A layer does not work at this size.
    """
    seen = {_identity(place): after[0].views for place, _, after in _walk(model, [_image(model, size)], ())}
    return [seen[_identity(place)] for place in places]


def _identity(place: Place) -> tuple[int, ...]:
    return tuple(map(id, (*place.path, place.node)))


def _image(model: Model, size: tuple[int | None, int | None]) -> _Value:
    (own,) = model.inputs
    return _Value(keras.KerasTensor((None, *size, own.shape[3]), own.dtype), PIXEL)


def _walk(
    model: Model, inputs: Sequence[_Value], path: tuple[Call, ...]
) -> Generator[tuple[Place, list[_Value], list[_Value]], None, list[_Value]]:
    """Yield every call with its inputs and outputs; return the outputs of the model itself."""
    values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
    for node in calls(model):
        before = [values[id(tensor)] for tensor in node.input_tensors]
        if is_graph(node.operation):
            after: list[_Value] = yield from _walk(node.operation, before, (*path, node))
        else:
            views = views_after(_windows(node, before[0].spec.shape), [value.views for value in before])
            after = [_Value(spec, views) for spec in _specs(node, values)]
        values.update({id(tensor): value for tensor, value in zip(node.outputs, after, strict=True)})
        yield Place(path, node), before, after
    return [values[id(tensor)] for tensor in model.outputs]


def _specs(node: Call, values: Mapping[int, _Value]) -> list[Any]:
    args, kwargs = node.arguments.fill_in({key: value.spec for key, value in values.items()})
    joined = {values[id(tensor)].spec.shape[1:-1] for tensor in node.input_tensors}
    try:
        if type(node.operation).__name__ == "Concatenate" and len(joined) > 1:  # Keras finds that at a call only
            raise UsageError(f"its inputs are {' and '.join(map(str, sorted(joined)))} pixels.")
        return keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))
    except Exception as error:  # a layer may raise anything
        raise UsageError(
            f"'{name_of(node.operation)}' does not work at this size: {reason_of(error)}", flags=("--size",)
        ) from error


def _windows(node: Call, shape: Sequence[int | None]) -> list[Window]:
    """Return what a value of a layer sees along rows and columns; empty if that is not known.

    Args:
        node: The call of the layer.
        shape: Of its first input.
    """
    layer = node.operation
    kind = type(layer).__name__
    if kind in _ALONG_CHANNELS and getattr(layer, "axis", -1) not in (-1, 3, [-1], [3]):
        return []
    if kind in _POINTWISE or kind.startswith("Random") or activation_of(layer) != LINEAR:
        return point()
    if kind in ("ZeroPadding2D", "Cropping2D"):
        (top, _), (left, _) = layer.padding if kind == "ZeroPadding2D" else layer.cropping
        return point((-top, -left) if kind == "ZeroPadding2D" else (top, left))
    if kind in _WHOLE:
        return WHOLE
    if kind == "Dense" and len(node.input_tensors[0].shape) == _AXES:
        return point()
    if kind in _WINDOWS:
        sizes, steps, gaps = (_pair(layer, name) for name in (_WINDOWS[kind], "strides", "dilation_rate"))
        pads = [0, 0]
        if layer.padding == "same":
            pads = [same_padding(*each) for each in zip(shape[1:3], sizes, steps, gaps, strict=True)]
        return [window(*each) for each in zip(sizes, steps, pads, gaps, strict=True)]
    if kind == "Conv2DTranspose":
        sizes, steps = _pair(layer, "kernel_size"), _pair(layer, "strides")
        same = layer.padding == "same"
        return [
            transposed(size, step, max(size - step, 0) // 2 if same else 0)
            for size, step in zip(sizes, steps, strict=True)
        ]
    if kind == "UpSampling2D":
        smooth = layer.interpolation != "nearest"
        return [resized(1, factor, smooth=smooth) for factor in _pair(layer, "size")]
    return []


def _pair(layer: Layer, name: str) -> tuple[int, int]:
    found: Any = getattr(layer, name, 1)
    return (found, found) if isinstance(found, int) else (int(found[0]), int(found[1]))


def _names(places: Sequence[Place]) -> list[str]:
    """Return the shortest name that each call can be requested by."""
    own, full = Counter(place.name for place in places), Counter(place.full_name for place in places)
    seen = Counter[str]()
    names = list[str]()
    for place in places:
        seen[place.name] += 1
        if own[place.name] == 1:
            names.append(place.name)
        else:
            names.append(place.full_name if full[place.full_name] == 1 else f"{place.name}#{seen[place.name]}")
    return names


def _row(name: str, place: Place, readers: Readers, before: list[_Value], after: list[_Value]) -> LayerRow:
    layer = place.node.operation
    shape = tuple(after[0].spec.shape[1:]) if len(after) == 1 else None
    obstacle = obstacle_of(after[0].spec if len(after) == 1 else None)
    function = LINEAR if obstacle else tap_at(name, place, Activation.RELU, readers).function
    view = tap_view(after[0].views)
    return LayerRow(
        name=name,
        kind=type(layer).__name__,
        activation=None if function == LINEAR else function,
        shape=shape if shape is None or obstacle else (shape[-1], *shape[:-1]),
        stride=view and view.stride,
        receptive_field=view and view.receptive_field,
        parameters=0 if is_graph(layer) or not isinstance(layer, keras.Layer) else int(layer.count_params()),
        macs=_macs(layer, before, shape),
        obstacle=obstacle,
    )


def _macs(layer: Layer, before: list[_Value], shape: tuple[int | None, ...] | None) -> int | None:
    """Return the multiply-accumulate operations of a layer for one image; None if a size is open."""
    kind = type(layer).__name__
    if kind not in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense") or shape is None:
        return 0
    extents = [*before[0].spec.shape[1:], *shape]
    if None in extents:
        return None
    *entering, channels = before[0].spec.shape[1:]
    *leaving, filters = cast("tuple[int, ...]", shape)
    if kind == "Dense":
        return prod(leaving) * filters * int(channels)
    window = prod(cast("tuple[int, int]", layer.kernel_size))
    if kind == "Conv2D":
        return prod(leaving) * filters * window * (int(channels) // int(layer.groups))
    if kind == "Conv2DTranspose":
        return prod(map(int, entering)) * filters * window * int(channels)
    depthwise = prod(leaving) * window * int(channels) * int(layer.depth_multiplier)
    return depthwise if kind == "DepthwiseConv2D" else depthwise + depthwise // window * filters
