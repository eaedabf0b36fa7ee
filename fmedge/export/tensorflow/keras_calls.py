"""List the calls that Keras recorded in a model, and find one by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fmedge.errors import UsageError, closest
from fmedge.export.tensorflow.keras_import import Call, Layer, Model, is_graph
from fmedge.export.tensorflow.tf_import import Tensor

SLASH = "\u2215"
"""What stands for a slash in a layer's name: Keras 2 allowed slashes, Keras 3 does not. Users see a slash."""


def name_of(operation: Layer) -> str:
    """Return the name of a layer or operation, as its author wrote it."""
    return str(operation.name).replace(SLASH, "/")


@dataclass(frozen=True, slots=True)
class Place:
    """A call of a layer.

    Attributes:
        path: The calls of the nested models that contain it, from the outside in.
        node: Keras' record of the call.
    """

    path: tuple[Call, ...]
    node: Call

    @property
    def name(self) -> str:
        """The layer's own name."""
        return name_of(self.node.operation)

    @property
    def full_name(self) -> str:
        """The names of the nested models that contain it, then its own: ``backbone/conv``."""
        return "/".join([*(name_of(call.operation) for call in self.path), self.name])


def network_order(model: Model, names: Sequence[str]) -> tuple[str, ...]:
    """Sort layers in the order in which the network calls them.

    Raises:
        UsageError: A layer does not exist.
    """
    order = {place: index for index, place in enumerate(places(model))}
    return tuple(sorted(names, key=lambda name: order[find_place(model, name)]))


def calls(model: Model, targets: Sequence[Call] | None = None) -> list[Call]:
    """Return the calls that a model's outputs, or the given targets, need; each comes after those it reads from."""
    done: dict[int, Call] = {}
    stack = [maker(tensor) for tensor in reversed(model.outputs)] if targets is None else list(targets)
    inputs = {id(tensor) for tensor in model.inputs}
    while stack:
        node = stack[-1]
        before = [maker(tensor) for tensor in node.input_tensors if id(tensor) not in inputs]
        waiting = [other for other in before if id(other) not in done]
        if waiting and id(node) not in done:
            stack.extend(reversed(waiting))
        else:
            done.setdefault(id(stack.pop()), node)
    return [node for node in done.values() if not node.is_input]


def count_calls(model: Model) -> int:
    """Count the places that :func:`places` would yield, without visiting them: nesting can make their number huge."""
    known: dict[int, int] = {}

    def count(model: Model) -> int:
        if id(model) not in known:
            known[id(model)] = sum(
                1 + count(node.operation) if is_graph(node.operation) else 1 for node in calls(model)
            )
        return known[id(model)]

    return count(model)


def maker(tensor: Tensor) -> Call:
    """Return the call that produced a symbolic tensor."""
    history = tensor._keras_history  # noqa: SLF001 - Keras has no public way to ask
    return history.operation._inbound_nodes[history.node_index]  # noqa: SLF001


def places(model: Model, path: tuple[Call, ...] = ()) -> Iterator[Place]:
    """Yield all calls in the network's order; those in a nested model come before the call of that model."""
    for node in calls(model):
        if is_graph(node.operation):
            yield from places(node.operation, (*path, node))
        yield Place(path, node)


def find_place(model: Model, name: str) -> Place:
    """Find the call that a name refers to.

    Args:
        model: The model to search.
        name: The layer's own name. If several calls have it, put the names of the nested models before it
            (``backbone/conv``) or the number of the call after it (``conv#2``, counted from 1 in the network's order).

    Raises:
        UsageError: There is no such call, or more than one.
    """
    every = list(places(model))
    found = [place for place in every if place.name == name] or [place for place in every if place.full_name == name]
    if len(found) == 1:
        return found[0]
    if found:
        full = list(dict.fromkeys(place.full_name for place in found))
        ways = full if len(full) == len(found) else [f"{name}#1", f"{name}#{len(found)}"]
        raise UsageError(f"Layer '{name}' is called {len(found)} times. Name one call: '{ways[0]}' to '{ways[-1]}'.")
    layer, _, number = name.rpartition("#")
    called = [place for place in every if layer and layer in (place.name, place.full_name)]
    if number.isdecimal() and 1 <= int(number) <= len(called):
        return called[int(number) - 1]
    names = [place.name for place in every]
    raise UsageError(
        f"Unknown layer '{name}' in the Keras model.{closest(name, names)} First and last: '{names[0]}', '{names[-1]}'."
    )
