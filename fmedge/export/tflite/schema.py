"""The classes generated from TFLite's flatbuffer schema; LiteRT and TensorFlow ship the same ones."""
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import importlib
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from fmedge.errors import BackendUnavailable
from fmedge.system.install import install_command

_HOMES = {
    "ai_edge_litert": "ai_edge_litert.schema_py_generated",
    "tensorflow": "tensorflow.lite.python.schema_py_generated",
}


def _load() -> ModuleType:
    for package, module in _HOMES.items():
        if find_spec(package):
            return importlib.import_module(module)
    raise BackendUnavailable("Writing TFLite needs LiteRT.", hint=f"Install it: {install_command('litert')}.")


schema: Any = _load()
"""``ModelT`` and the tables in it."""
