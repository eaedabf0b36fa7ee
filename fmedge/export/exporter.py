"""Build a model, hold it against the reference, and only then let it have its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from fmedge import __version__
from fmedge.artifact import Artifact, ModelCard, Preprocessing, TensorSpec, WeightsFacts, write_artifact
from fmedge.image import MEAN_BGR
from fmedge.parity import GATES, Parity, measure_parity
from fmedge.submodel import Format, Precision, SubModel
from fmedge.vgg16 import INPUT_SIZE, find_layer
from fmedge.weights import Weights

EXPORTERS: dict[tuple[Format, Precision], str] = {
    (Format.ONNX, Precision.FP32): "fmedge.export.onnx_direct",
}
"""Module that builds a format at a precision; imported when used. It has ``build_model`` and ``tool_versions``."""

Runner = Callable[[Artifact, npt.NDArray[np.uint8]], Mapping[str, npt.NDArray[np.float32]]]
"""Runs a model on images, (N, H, W, 3) uint8 RGB, and returns (N, C, H, W) per tap. Handed in, so that
export needs to know no engine."""

_IMAGE_SEED = 20140904
"""Seed of the parity image: the day VGG16's paper appeared."""


def build_artifact(
    submodel: SubModel,
    weights: Weights,
    facts: WeightsFacts,
    path: Path,
    *,
    model_format: Format = Format.ONNX,
    precision: Precision = Precision.FP32,
    runner: Runner | None,
) -> Artifact:
    """Export a sub-model: model file and card.

    Args:
        submodel: What to cut.
        weights: Kernel and bias of every convolution up to the deepest tap.
        facts: Where the weights are from.
        path: Final name of the model file.
        model_format: Kind of file.
        precision: Number format.
        runner: Runs the model for the parity check; None leaves the check out, and the card says so.

    Returns:
        The artifact as written.

    Raises:
        ParityError: The model does not compute what the weights say; nothing is written.
        WriteError: It could not be written.
    """
    module = importlib.import_module(EXPORTERS[model_format, precision])
    card = describe(submodel, facts, model_format, precision, module)
    model: bytes = module.build_model(card, weights)
    if runner is not None:
        parity = check(Artifact(path, card, model), weights, runner)
        parity.require(path.name)
        card = replace(card, parity=parity)
    return write_artifact(path, model, card)


def describe(
    submodel: SubModel, facts: WeightsFacts, model_format: Format, precision: Precision, module: ModuleType
) -> ModelCard:
    """The card of a model that is about to be built."""
    height, width = INPUT_SIZE
    outputs = tuple(
        TensorSpec(name, "float32", (None, *find_layer(name).output_shape(height, width)), "NCHW")
        for name in submodel.taps
    )
    return ModelCard(
        submodel=submodel,
        format=model_format,
        precision=precision,
        weights=facts,
        inputs=(TensorSpec("image", "uint8", (None, height, width, 3), "NHWC"),),
        outputs=outputs,
        preprocessing=Preprocessing("BGR", MEAN_BGR, in_model=True),
        tools={"fmedge": __version__, **module.tool_versions()},
    )


def check(artifact: Artifact, weights: Weights, runner: Runner) -> Parity:
    """Run a model on the parity image and hold it against the float64 reference.

    Returns:
        The agreement at the tap that agrees least.
    """
    from fmedge.export.reference import reference_outputs

    card = artifact.card
    image = parity_image(*card.input_size)
    found = runner(artifact, image[np.newaxis])
    expected = reference_outputs(card.submodel, weights, image)
    gate = GATES[card.precision]
    parities = [measure_parity(found[name][0], expected[name], gate) for name in card.submodel.taps]
    return min(parities, key=lambda parity: parity.snr_db)


def parity_image(height: int, width: int) -> npt.NDArray[np.uint8]:
    """An image that would show a swapped axis or colour: three different ramps, and noise of every size.

    Returns:
        uint8, (height, width, 3), RGB; always the same for one size.
    """
    rows = np.linspace(0, 200, height)[:, np.newaxis]
    columns = np.linspace(180, 20, width)[np.newaxis, :]
    ramps = np.stack([rows + 0 * columns, columns + 0 * rows, (rows + columns) / 2], axis=-1)
    noise = np.random.Generator(np.random.PCG64(_IMAGE_SEED)).integers(0, 56, (height, width, 3))
    return (ramps + noise).astype(np.uint8)
