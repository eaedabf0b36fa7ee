"""The only module that imports Keras, with TensorFlow as its backend."""
# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false, reportMissingImports=false

from __future__ import annotations

import re
from typing import Any

from fmedge.errors import BackendUnavailable, UsageError
from fmedge.system.install import install_command
from fmedge.system.processor import require_processor
from fmedge.system.stderr import quietly

require_processor("TensorFlow")
try:
    with quietly():
        import keras as _keras
except ImportError as error:
    raise BackendUnavailable("keras is not installed.", hint=f"Install it: {install_command('export')}.") from error

keras: Any = _keras
"""Keras; untyped, since it has no type information for most of its API."""

Model = Any
"""A ``keras.Model``."""

Layer = Any
"""A layer, or an operation such as ``keras.ops.relu`` creates."""

Call = Any
"""Keras' record of a call of a layer: its ``Node``."""

if keras.backend.backend() != "tensorflow":
    raise UsageError(
        f"Keras runs on {keras.backend.backend()} here; the converters take tensorflow alone. "
        "Set KERAS_BACKEND=tensorflow."
    )


def is_graph(operation: Layer) -> bool:
    """Tell whether this is a sequential or functional model, whose calls Keras recorded."""
    return isinstance(operation, keras.Function | keras.Sequential)


def reason_of(error: Exception) -> str:
    """Return the line of a Keras error that says what is wrong, without colours, ending in a full stop."""
    plain = re.sub(r"\x1b\[\d*m|\{\{.*?\}\}", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith(("Exception encountered", "Arguments received", "in user"))]
    return (own[0].split(". ")[0][:90] if own else type(error).__name__).rstrip(". ") + "."
