"""CNN feature maps on the edge: cut, export, run, view.

The names below are loaded on first use, so that ``import fmedge`` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from fmedge._version import __version__ as __version__

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Must be set before anything imports ONNX Runtime, which from 1.31 on sends telemetry to its makers and keeps an id of
the machine in the user's caches. A value that the user has set is kept."""

if TYPE_CHECKING:
    from fmedge.bulk.api import extract_dataset as extract_dataset
    from fmedge.data.feature_maps import FeatureMaps as FeatureMaps
    from fmedge.data.page_options import PageOptions as PageOptions
    from fmedge.errors import FmedgeError as FmedgeError
    from fmedge.model.artifact import Artifact as Artifact
    from fmedge.model.artifact import read_artifact as read_artifact
    from fmedge.model.card import ModelCard as ModelCard
    from fmedge.model.preprocessing import Preprocessing as Preprocessing
    from fmedge.model.run_options import RunOptions as RunOptions
    from fmedge.model.stock import VGG16_LAYERS as VGG16_LAYERS
    from fmedge.model.submodel import ExportOptions as ExportOptions
    from fmedge.model.submodel import SubModel as SubModel
    from fmedge.render.embedding import embed as embed
    from fmedge.render.figures import figure as figure
    from fmedge.render.page import render_page as render_page
    from fmedge.render.sheet import render_sheet as render_sheet
    from fmedge.runtime.opening import open_session as open_session
    from fmedge.runtime.session import Session as Session
    from fmedge.workflow.exports import export_submodel as export_submodel
    from fmedge.workflow.layers import list_layers as list_layers
    from fmedge.workflow.pipeline import extract as extract
    from fmedge.workflow.pipeline import extract_many as extract_many

_HOMES = {
    "Artifact": "fmedge.model.artifact",
    "ExportOptions": "fmedge.model.submodel",
    "FeatureMaps": "fmedge.data.feature_maps",
    "FmedgeError": "fmedge.errors",
    "ModelCard": "fmedge.model.card",
    "PageOptions": "fmedge.data.page_options",
    "Preprocessing": "fmedge.model.preprocessing",
    "RunOptions": "fmedge.model.run_options",
    "Session": "fmedge.runtime.session",
    "SubModel": "fmedge.model.submodel",
    "VGG16_LAYERS": "fmedge.model.stock",
    "embed": "fmedge.render.embedding",
    "export_submodel": "fmedge.workflow.exports",
    "extract": "fmedge.workflow.pipeline",
    "extract_dataset": "fmedge.bulk.api",
    "extract_many": "fmedge.workflow.pipeline",
    "figure": "fmedge.render.figures",
    "list_layers": "fmedge.workflow.layers",
    "open_session": "fmedge.runtime.opening",
    "read_artifact": "fmedge.model.artifact",
    "render_page": "fmedge.render.page",
    "render_sheet": "fmedge.render.sheet",
}

__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fmedge' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
