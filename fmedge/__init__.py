"""VGG16 feature maps on the edge: cut, export, run, look.

The names below are loaded when they are first used, so that ``import fmedge`` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Before anything imports ONNX Runtime, which from 1.31 on reports to its makers and keeps a number for the machine in
the user's caches. Whoever sets the variable decides."""

if TYPE_CHECKING:
    from fmedge.artifact import Artifact as Artifact
    from fmedge.artifact import read_artifact as read_artifact
    from fmedge.card import ModelCard as ModelCard
    from fmedge.errors import FmedgeError as FmedgeError
    from fmedge.feature_maps import FeatureMaps as FeatureMaps
    from fmedge.page_options import PageOptions as PageOptions
    from fmedge.pipeline import extract as extract
    from fmedge.pipeline import extract_many as extract_many
    from fmedge.preprocessing import Preprocessing as Preprocessing
    from fmedge.provision import export_submodel as export_submodel
    from fmedge.render import render_page as render_page
    from fmedge.render.figures import figure as figure
    from fmedge.render.sheet import render_sheet as render_sheet
    from fmedge.run_options import RunOptions as RunOptions
    from fmedge.runtime import Session as Session
    from fmedge.runtime import open_session as open_session
    from fmedge.submodel import ExportOptions as ExportOptions
    from fmedge.submodel import SubModel as SubModel
    from fmedge.vgg16 import VGG16_LAYERS as VGG16_LAYERS

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "fmedge.artifact",
    "ExportOptions": "fmedge.submodel",
    "FeatureMaps": "fmedge.feature_maps",
    "FmedgeError": "fmedge.errors",
    "ModelCard": "fmedge.card",
    "PageOptions": "fmedge.page_options",
    "Preprocessing": "fmedge.preprocessing",
    "RunOptions": "fmedge.run_options",
    "Session": "fmedge.runtime",
    "SubModel": "fmedge.submodel",
    "VGG16_LAYERS": "fmedge.vgg16",
    "export_submodel": "fmedge.provision",
    "extract": "fmedge.pipeline",
    "extract_many": "fmedge.pipeline",
    "figure": "fmedge.render.figures",
    "open_session": "fmedge.runtime",
    "read_artifact": "fmedge.artifact",
    "render_page": "fmedge.render",
    "render_sheet": "fmedge.render.sheet",
}

__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fmedge' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
