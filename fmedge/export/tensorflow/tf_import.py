"""The only module that imports TensorFlow: it silences log output and gives a clear error if TensorFlow is missing."""
# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false, reportMissingImports=false

from __future__ import annotations

from typing import Any

from fmedge.errors import BackendUnavailable
from fmedge.system.files import temporary_folder
from fmedge.system.install import install_command
from fmedge.system.stderr import quietly

with temporary_folder():
    """TensorFlow imports its own tests, which look for a temporary folder and fail without one."""

try:
    with quietly():
        import tensorflow
        from tensorflow.lite.python import schema_py_generated
        from tensorflow.lite.python.convert_phase import ConverterError
        from tensorflow.python.framework import convert_to_constants
except ImportError as error:
    raise BackendUnavailable(
        "tensorflow is not installed.", hint=f"Install it: {install_command('export')}."
    ) from error

__all__ = ["ConverterError", "Function", "Tensor", "freeze", "schema", "tf"]

tf: Any = tensorflow
"""TensorFlow; untyped, since it has no type information for most of its API."""

schema: Any = schema_py_generated
"""Classes for the tables of a TFLite file."""

_convert_to_constants: Any = convert_to_constants
freeze: Any = _convert_to_constants.convert_variables_to_constants_v2
"""Turns a concrete function into one that holds what it captured as constants."""

Tensor = Any
"""A TensorFlow tensor, with values or being traced."""

Function = Any
"""A TensorFlow concrete function."""
