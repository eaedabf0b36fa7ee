"""Cut a Keras model at layers by walking its graph of calls.

``keras.Model(model.input, layer.output)`` cannot cut inside nested models, before a fused ReLU, or at another image
size. So the code here repeats the calls that Keras recorded, on our own tensors; the model is not changed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.errors import LimitExceeded, UsageError
from fmedge.export.tensorflow.keras_calls import calls, maker, name_of
from fmedge.export.tensorflow.keras_import import Call, Layer, Model, is_graph, keras, reason_of
from fmedge.export.tensorflow.keras_taps import Tap, find_tap, require_spatial
from fmedge.export.tensorflow.scopes import LayerScopes
from fmedge.export.tensorflow.tf_import import Tensor, tf
from fmedge.model.submodel import SubModel

_Arguments = Any
"""The arguments of a layer's call: tensors and other values, nested in any way."""


class Cut:
    """A model and the taps that were found in it.

    Attributes:
        taps: What to show.

    Args:
        model: Sequential or functional, built.
        submodel: The taps, and what they show.

    Raises:
        UsageError: A tap does not exist, is called more than once, or has no feature maps.
    """

    def __init__(self, model: Model, submodel: SubModel) -> None:
        self.taps = [find_tap(model, name, submodel.activation) for name in submodel.taps]
        self._model = model
        self._names = submodel.taps

    def outputs(
        self, pixels: Tensor, *, reverse_colours: bool, scopes: LayerScopes, constants: bool
    ) -> dict[str, Tensor]:
        """Compute the taps.

        Args:
            pixels: (N, H, W, 3), float32, RGB; a tensor with values, or one that is being traced.
            reverse_colours: Whether the model takes BGR. A first convolution gets a reversed kernel; other layers
                that read the image get it reversed.
            scopes: Names the traced operations.
            constants: Whether weights become constants of the traced graph instead of variables.

        Returns:
            Per tap (N, H, W, C), float32.

        Raises:
            UsageError: A tap has no spatial output, or a layer does not work at this image size.
            LimitExceeded: A recurrent layer is unrolled into too many steps.
        """
        walk = _Walk(self.taps, pixels, reverse_colours, scopes, constants)
        try:
            walk.run(self._model, [pixels], ())
        except tf.errors.OperatorNotAllowedInGraphError as error:
            raise UsageError(
                f"'{walk.layer}' cannot be computed for images of any size. {self._other_size(pixels)}"
            ) from error
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise UsageError(
                f"Keras cannot compute '{walk.layer}': {reason_of(error)} {self._other_size(pixels)}"
            ) from error
        for name in self._names:
            require_spatial(name, walk.shown[name])
        return {name: tf.cast(walk.shown[name], tf.float32) for name in self._names}

    def _other_size(self, pixels: Tensor) -> str:
        """Say what to try if a layer does not work at the size of these pixels."""
        own, asked = (tuple(tensor.shape[1:3]) for tensor in (self._model.inputs[0], pixels))
        if own == asked and None not in own:
            return "Cut before it."
        return "Name one: --size HEIGHTxWIDTH." if None in own else f"The model's own size: --size {own[0]}x{own[1]}."


class _Walk:
    """One pass over the calls that the taps need.

    Attributes:
        shown: The values found so far, per tap.
        layer: Name of the layer that is being called.
    """

    def __init__(
        self, taps: Sequence[Tap], pixels: Tensor, reverse_colours: bool, scopes: LayerScopes, constants: bool
    ) -> None:
        self.shown: dict[str, Tensor] = {}
        self.layer = ""
        self._taps = taps
        self._pixels = pixels
        self._reverse = reverse_colours
        self._reversed: Any = None
        self._scopes = scopes
        self._constants = constants

    def run(
        self, model: Model, inputs: Sequence[Tensor], path: tuple[Call, ...], *, whole: bool = False
    ) -> list[Tensor]:
        """Compute the calls in a model that the taps need; with ``whole``, compute and return its outputs too."""
        values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        nodes, consumed = _needed(model, self._targets(path), whole)
        for node in nodes:
            args, kwargs = node.arguments.fill_in(values)
            taps = [tap for tap in self._taps if tap.place.path == path and tap.place.node is node]
            for tap in taps:
                if tap.side == "input":
                    self.shown[tap.name] = self._ordered(args[0])
            if is_graph(node.operation):
                wanted = id(node) in consumed or bool(taps)
                results = self.run(node.operation, keras.tree.flatten(args), (*path, node), whole=wanted)
            else:
                results = keras.tree.flatten(self._call(node, args, kwargs, taps))
            values.update({id(tensor): value for tensor, value in zip(node.outputs, results, strict=False)})
            for tap in taps:
                if tap.side == "output":
                    self.shown[tap.name] = results[0] if len(results) == 1 else None
        return [values[id(tensor)] for tensor in model.outputs] if whole else []

    def _targets(self, path: tuple[Call, ...]) -> set[int]:
        """Return the ids of the calls, in the model at a path, that are taps or nested models with taps inside."""
        depth = len(path)
        places = [tap.place for tap in self._taps if tap.place.path[:depth] == path]
        return {id(place.path[depth] if len(place.path) > depth else place.node) for place in places}

    def _call(self, node: Call, args: _Arguments, kwargs: _Arguments, taps: Sequence[Tap]) -> Tensor:
        self.layer = name_of(node.operation)
        _require_few_steps(node.operation, args)
        bare = [tap for tap in taps if tap.side == "bare"]
        with self._scopes.layer(self.layer):
            if not bare:
                return self._apply(node.operation, args, kwargs)
            result = self._apply(bare[0].twin, args, kwargs)
            for tap in bare:
                self.shown[tap.name] = result
            return node.operation.activation(result)

    def _apply(self, operation: Layer, args: _Arguments, kwargs: _Arguments) -> Tensor:
        variables = getattr(operation, "variables", ()) if self._constants else ()
        mapping = {id(variable): (variable, _value(variable)) for variable in variables}
        if self._reverse and args and args[0] is self._pixels and _takes_reversed_kernel(operation):
            kernel = operation.kernel
            mapping[id(kernel)] = (kernel, _value(kernel)[:, :, ::-1, :])
        else:
            args, kwargs = keras.tree.map_structure(self._ordered, (args, kwargs))
        if not mapping:
            return _at_inference(operation, args, kwargs)
        with keras.StatelessScope(state_mapping=[(key, tf.constant(value)) for key, value in mapping.values()]):
            return _at_inference(operation, args, kwargs)

    def _ordered(self, value: _Arguments) -> _Arguments:
        """Return the image in the colour order that the model takes; return any other value unchanged."""
        if value is not self._pixels or not self._reverse:
            return value
        if self._reversed is None:
            with self._scopes.layer("reverse_colours"):
                self._reversed = tf.gather(value, [2, 1, 0], axis=3)
        return self._reversed


MAX_STEPS = 256
"""Largest number of steps of an unrolled recurrent layer: each is traced separately, in a few milliseconds."""


def _require_few_steps(operation: Layer, args: _Arguments) -> None:
    """Check that a recurrent layer is not unrolled into too many steps.

    Raises:
        LimitExceeded: It is.
    """
    layers = (operation, getattr(operation, "layer", None), getattr(operation, "forward_layer", None))
    if args and any(getattr(layer, "unroll", False) is True for layer in layers):
        steps = args[0].shape[1]
        if steps is not None and steps > MAX_STEPS:
            raise LimitExceeded(f"'{name_of(operation)}' unrolls {steps:,} steps. Allowed: {MAX_STEPS}. Cut before it.")


_SCOPE_NAME = r"[A-Za-z0-9_.-]*"
"""Names that TensorFlow accepts as the scope of a layer."""


def _at_inference(operation: Layer, args: _Arguments, kwargs: _Arguments) -> Tensor:
    """Call a layer as ``predict`` does, whatever the recorded call says: dropout and augmentation are for training."""
    if not isinstance(operation, keras.Layer):
        return operation(*args, **kwargs)
    if re.fullmatch(_SCOPE_NAME, operation.name):
        return operation(*args, **{**kwargs, "training": False})
    if "training" in inspect.signature(operation.call).parameters:
        kwargs = {**kwargs, "training": False}
    return operation.call(*args, **kwargs)  # calling the layer itself, TensorFlow would refuse its name


def _value(variable: Tensor) -> npt.NDArray[np.generic]:
    with tf.init_scope():  # outside the graph that is being traced
        return variable.numpy()


def _takes_reversed_kernel(operation: Layer) -> bool:
    return (
        type(operation) is keras.layers.Conv2D
        and operation.groups == 1
        and operation.data_format == "channels_last"
        and isinstance(operation.kernel, keras.Variable)
    )


def _needed(model: Model, targets: set[int], whole: bool) -> tuple[list[Call], set[int]]:
    """Return the calls that the targets need, in order, and the ids of the calls whose results are read."""
    every = calls(model)
    wanted = [node for node in every if id(node) in targets]
    nodes = calls(model, wanted) if not whole else every
    consumed = {id(maker(tensor)) for node in nodes for tensor in node.input_tensors}
    if whole:
        consumed |= {id(maker(tensor)) for tensor in model.outputs}
    return nodes, consumed
