"""What the tests of the exporters share."""

import hashlib
import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from fmedge.export.exporter import describe, find_exporter, own_artifact
from fmedge.export.judging import check
from fmedge.model.stock import VGG16_LAYERS
from fmedge.model.submodel import Activation, ExportOptions, SubModel
from fmedge.workflow.artifacts import run_batches
from support.places import ROOT

ALL_CASES = [
    (spec.name, activation)
    for spec in VGG16_LAYERS
    for activation in (("relu", "none") if spec.kind == "conv" else ("relu",))
]
"""Every layer with every activation it has."""

FEW_CASES = [
    ("block1_conv1", "relu"),
    ("block1_conv1", "none"),
    ("block1_conv1+block1_pool", "relu"),
    ("block1_conv2+block2_conv1", "none"),
]


FORMS = [{"size": None}, {"size": (64, 96), "batch": 2}, {"size": (37, 53)}, {"size": (8, 9), "input_dtype": "float32"}]
"""What may differ in the form of a float model."""


def build(module, network, layers, activation="relu", calibration=None, **options):
    """An artifact that was built and not written."""
    submodel = network.ordered(SubModel(tuple(layers.split("+")), Activation(activation), source(network)))
    built = module.build_model(describe(submodel, network, ExportOptions(**options)), network, calibration)
    path = Path(layers + built.card.format.suffixes[0])
    return own_artifact(path, built.card, built.model, built.weights, lasting=False)


def build_with(network, calibration, layers, activation="relu", **options):
    """An artifact that was built by the exporter that the options ask for, and not written."""
    exporter = find_exporter(source(network), ExportOptions(**options))
    return build(importlib.import_module(exporter.module), network, layers, activation, calibration, **options)


def card_with(card, place, **changes):
    """The card with changes to its input or outputs."""
    return replace(card, **{place: tuple(replace(spec, **changes) for spec in getattr(card, place))})


def source(network):
    return "keras" if network.facts.kind == "keras" else "vgg16"


def require_parity(artifact, network, calibration=None):
    parity = check(artifact, network, run_batches, calibration)
    assert parity.passed, parity.describe()
    return parity


def hashes_in_another_process(module, layers, *options):
    """SHA-256 of models of stock layers with untrained weights, one for each options, built in a new interpreter."""
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from support import builds\n"
        "from fmedge.model.submodel import *\n"
        "from fmedge.export.stock_network import StockNetwork\n"
        "from fmedge.model.weights import UNTRAINED, load_weights\n"
        f"import {module.__name__} as module\n"
        "network = StockNetwork(*load_weights(UNTRAINED, 'block2_pool'))\n"
        f"for options in ({', '.join(options)},):\n"
        f"    print(builds.sha256(builds.build(module, network, {layers!r}, **options)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return run.stdout.split()


def sqnr_db(found, true):
    """Signal over quantisation noise of a whole tensor, in dB."""
    noise = np.square(found.astype(float) - true).sum()
    return 10 * np.log10(np.square(true.astype(float)).sum() / noise)


def sha256(artifact):
    return hashlib.sha256(artifact.model + artifact.weights).hexdigest()
