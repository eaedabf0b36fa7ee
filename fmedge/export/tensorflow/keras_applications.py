"""Load a file that holds only weights into the network of ``keras.applications`` that they are of."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py

from fmedge.errors import FmedgeError, UsageError, WeightsError, closest
from fmedge.export.tensorflow.keras_import import Model, keras, reason_of
from fmedge.model.keras_config import DAMAGE, require_plain_hdf5
from fmedge.system.address_space import is_shortage, shortage
from fmedge.system.files import temporary_folder
from fmedge.system.stderr import quietly

_Shapes = Counter[tuple[int, ...]]
"""How many arrays there are of each shape."""

_NEW, _OLD = ".weights.h5", ".h5"
"""The suffixes by which Keras tells files that ``save_weights`` writes now from those that it wrote before Keras 3."""

_WHOLE_MODEL = "model_weights"


def application_names() -> tuple[str, ...]:
    """Return the names of the networks, those of Keras' own constructors, such as ``ResNet50``."""
    return tuple(sorted(name for name in vars(keras.applications) if name[0].isupper()))


def untrained_application(name: str) -> Model:
    """Build a network of ``keras.applications`` without its classifier and with random weights, for any size.

    Raises:
        UsageError: There is no such network.
    """
    with quietly():
        return getattr(keras.applications, _known(name))(weights=None, include_top=False, input_shape=(None, None, 3))


def _known(name: str) -> str:
    """Return Keras' own spelling of a network's name."""
    known = {each.casefold(): each for each in application_names()}
    if str(name).casefold() not in known:
        allowed = "Allowed: those of keras.applications, as ResNet50"
        raise UsageError(f"Unknown network '{name}'.{closest(name, known.values())} {allowed}.")
    return known[name.casefold()]


def model_of_application(name: str, path: Path, size: tuple[int, int] | None = None) -> Model:
    """Build a network of ``keras.applications`` with the weights of a file.

    Args:
        name: One of :func:`application_names`, in capitals or not.
        path: What ``save_weights`` wrote, ``.weights.h5`` or the older ``.h5``, whatever it is called now. It tells
            whether the network has its classifier, and for how many classes.
        size: Height and width that a network without its classifier takes; None leaves them open. One with it takes
            the size that Keras builds it for.

    Returns:
        The network: it takes (N, H, W, 3), prepared as ``docs/networks.md`` says.

    Raises:
        UsageError: There is no such network.
        WeightsError: The file is missing, damaged, a whole model, or holds the weights of another network.
        LimitExceeded: It holds too much.
    """
    known = _known(name)
    build = getattr(keras.applications, known)
    suffix, found = _read(path)
    with quietly():
        model = build(weights=None, include_top=False, input_shape=(*(size or (None, None)), 3))
        missing, more = _difference(model, found)
        if more and not missing:
            model = build(weights=None, include_top=True, classes=_classes(more))
            missing, more = _difference(model, found)
        if missing or more:
            raise _other(path, known, missing, more)
        _load(model, path, suffix)
    return model


def _read(path: Path) -> tuple[str, _Shapes]:
    """Return which kind of file it is, by its suffix, and the shapes of its arrays."""
    try:
        with path.open("rb") as stream:
            require_plain_hdf5(path, stream)
        with h5py.File(path, "r", locking=False) as file:
            if _WHOLE_MODEL in file:
                raise WeightsError(f"'{path}' holds a whole model.", hint="It needs no network's name: --keras FILE.")
            shapes = _Shapes()

            def add(name: str, member: Any) -> None:  # noqa: ANN401 - h5py has no types
                if isinstance(member, h5py.Dataset) and "seed_generator" not in name:
                    shapes[member.shape] += 1

            file.visititems(add)
            return _OLD if any(key.startswith("layer_names") for key in file.attrs) else _NEW, shapes
    except FileNotFoundError:
        raise WeightsError(f"There is no file '{path}'.") from None
    except DAMAGE as error:
        raise WeightsError(f"'{path}' is not a readable file of weights. Allowed: .weights.h5 or .h5.") from error


def _difference(model: Model, found: _Shapes) -> tuple[_Shapes, _Shapes]:
    """Return what a model has and the file has not, and the reverse."""
    own = _Shapes(tuple(weight.shape) for weight in model.weights)
    return own - found, found - own


def _classes(head: _Shapes) -> int:
    """Return the number of classes: the length of a bias in the classifier that no kernel there takes as its input."""
    biases = {shape[0] for shape in head if len(shape) == 1}
    between = {shape[-2] for shape in head if len(shape) > 1}
    return max(biases - between or biases, default=1)


def _other(path: Path, name: str, missing: _Shapes, more: _Shapes) -> WeightsError:
    (shape, _), *_ = (missing or more).most_common(1)
    which = " x ".join(map(str, shape)) or "one number"
    what = f"it lacks an array of {which}" if missing else f"it has an array of {which} more"
    return WeightsError(f"'{path}' does not hold the weights of {name}, as Keras builds it: {what}.")


def _load(model: Model, path: Path, suffix: str) -> None:
    with temporary_folder() as folder:
        named = folder / f"model{suffix}"
        named.symlink_to(path.resolve())
        try:
            model.load_weights(named)
        except FmedgeError:
            raise
        except Exception as error:  # a file can make Keras raise anything
            if is_shortage(error):
                raise shortage(error) from error
            raise WeightsError(f"Keras cannot load the weights of '{path}': {reason_of(error)}") from error
