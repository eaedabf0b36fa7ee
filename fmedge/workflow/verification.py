"""Check a model again: against the network that it was cut from, or against a reference in a file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmedge.errors import ArtifactError
from fmedge.model.artifact import Artifact
from fmedge.model.parity import GATES, Parity
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import APPLICATIONS, VGG16, find_network
from fmedge.model.weights import choose_weights
from fmedge.runtime.gate.checks import require_artifact
from fmedge.system.progress import no_progress
from fmedge.workflow.artifacts import load_network, run_batches
from fmedge.workflow.model_files import open_model
from fmedge.workflow.own_networks import read_application, read_own_network
from fmedge.workflow.references import judge, save_reference
from fmedge.workflow.request import ArtifactSpec

if TYPE_CHECKING:
    from fmedge.export.network import Network


def find_origin(
    artifact: Artifact,
    *,
    network: str | None = None,
    weights: str | None = None,
    keras: Path | None = None,
    onnx: Path | None = None,
) -> Network:
    """Return the network that an artifact was cut from.

    Args:
        artifact: The artifact.
        network: As in :func:`request_artifact`, for a network of ``keras.applications``; cards name stock networks.
        weights: As in :func:`request_artifact`; None means those that the card names, if they are available offline.
        keras: The Keras model that it was made from.
        onnx: The ONNX network that it was made from.

    Raises:
        ArtifactError: It was made from other weights, or names other activations than the network has.
        WeightsError: The weights cannot be obtained.
    """
    card = artifact.card
    wish = weights or ("untrained" if card.weights.kind == "untrained" else None)
    application = find_network(network, keras, onnx)
    if application in APPLICATIONS:
        own = read_application(application, weights)
    else:
        own = read_own_network(keras=keras, onnx=onnx)
    stock = card.submodel.source if card.submodel.stock is not None else VGG16
    choice = own.choice if own else choose_weights(wish, source=stock)
    if not choice.matches(card.weights):
        raise ArtifactError(
            f"'{artifact.path}' was made from {card.describe_weights()}, not these.",
            hint="Name them: --weights, --keras or --onnx.",
        )
    card.require_room()
    loaded = load_network(ArtifactSpec(card.submodel, choice, artifact.path.parent, card.options), True, no_progress)
    true = replace(card, functions=loaded.functions(card.submodel))
    if card.functions and card.functions != true.functions:
        said, found = card.describe_activation(), true.describe_activation()
        raise ArtifactError(f"'{artifact.path}' is '{said}' by its card and '{found}' by its network. Export it again.")
    return loaded


def verify_artifact(
    path: Path,
    *,
    network: str | None = None,
    weights: str | None = None,
    keras: Path | None = None,
    onnx: Path | None = None,
    calibration: Path | None = None,
    run: RunOptions | None = None,
) -> tuple[Artifact, Parity]:
    """Repeat the parity check of an artifact, and compare its file's hash with the card's.

    Args:
        path: The model file.
        network: As in :func:`find_origin`; so are the following.
        weights: Weights of a stock network.
        keras: A Keras model.
        onnx: An ONNX network.
        calibration: Folder of photos to run it on.
        run: Engine and device; None means the defaults.

    Returns:
        The artifact and its agreement with the reference, which may be below the gate.

    Raises:
        ArtifactError: The file or its card is missing or damaged; see also :func:`find_origin`.
        WeightsError: The weights cannot be obtained.
    """
    from fmedge.export.calibration import read_calibration
    from fmedge.export.judging import check

    artifact = open_model(path)
    require_artifact(artifact)
    photos = None if calibration is None else read_calibration(calibration)
    origin = find_origin(artifact, network=network, weights=weights, keras=keras, onnx=onnx)
    return artifact, check(artifact, origin, partial(run_batches, run=run), photos, secretly=True)


def verify_against(path: Path, reference: Path, run: RunOptions | None = None) -> tuple[Artifact, Parity]:
    """Compare what a model computes here with a reference in a file, and the model's hash with its card's.

    Args:
        path: The model file.
        reference: See :func:`fmedge.workflow.references.save_reference`.
        run: Engine and device; None means the defaults.

    Returns:
        The artifact, and its agreement at the image and tap that agree least, with the gate of its card.

    Raises:
        ArtifactError: The model or its card is missing or damaged.
        UsageError: The reference is none, or of another model.
    """
    from fmedge.runtime.opening import open_session

    artifact = open_model(path)
    require_artifact(artifact)
    card = artifact.card
    gate = card.parity.gate if card.parity else GATES[card.precision]
    with open_session(artifact, replace(run or RunOptions(), spinning=False)) as session:
        return artifact, judge(session, reference, gate, batch=card.options.batch or 1)


def save_reference_of(
    artifact: Artifact,
    path: Path,
    *,
    network: str | None = None,
    weights: str | None = None,
    keras: Path | None = None,
    onnx: Path | None = None,
) -> None:
    """Write what an artifact is held against where its network is not: its maps of the image of the parity check.

    Args:
        artifact: The artifact.
        path: The .npz file.
        network: As in :func:`find_origin`; so are the following.
        weights: Weights of a stock network.
        keras: A Keras model.
        onnx: An ONNX network.

    Raises:
        ArtifactError: See :func:`find_origin`.
        WeightsError: The weights cannot be obtained.
        WriteError: The file cannot be written.
    """
    from fmedge.data.images import parity_image
    from fmedge.export.judging import OPEN_SIZE

    card = artifact.card
    origin = find_origin(artifact, network=network, weights=weights, keras=keras, onnx=onnx)
    images = parity_image(*(card.options.size or OPEN_SIZE))[np.newaxis].astype(card.options.input_dtype)
    maps = origin.reference(card.submodel, images)
    save_reference(path, images, {name: each.astype(np.float32) for name, each in maps.items()})
