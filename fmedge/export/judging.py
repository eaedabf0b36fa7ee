"""Compare a model with what the network computes: how well they agree, how well they must, and on which images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fmedge.data.images import parity_image, secret_image
from fmedge.errors import ParityError
from fmedge.export.built import Simulation
from fmedge.export.calibration import Calibration
from fmedge.export.network import Images, Network
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.model.parity import GATES, Parity, gate_for, measure_parity
from fmedge.model.submodel import MAX_FLOAT16, ONNX, Precision

Runner = Callable[[Artifact, Iterable[Images]], Iterator[Mapping[str, npt.NDArray[np.float32]]]]
"""Runs a model on batches of images and yields (N, C, H, W) per tap for each batch. The caller passes it in, so that
``export`` does not depend on any engine."""

OPEN_SIZE = (160, 224)
"""Height and width of the parity image if the model leaves them open. They differ so that a swap is noticed."""


def predict(
    simulations: Sequence[Simulation], images: Images, expected: Mapping[str, npt.NDArray[np.floating]]
) -> dict[str, float]:
    """Predict the signal-to-noise ratio per tap, in dB, that a model must reach, apart from the engine's own rounding.

    Args:
        simulations: What the model must compute; the best one counts. If there are none, the result is empty.
        images: The images to simulate; the worst one counts.
        expected: Per tap, the network's outputs for these images.
    """
    if not simulations:
        return {}
    every = [simulate(images) for simulate in simulations]
    gate = GATES["fp32"]  # no model has to exceed its bound

    def reach(name: str, index: int) -> float:
        best = max(measure_parity(found[name][index], expected[name][index], gate).snr_db for found in every)
        return round(min(best, gate.min_snr_db), 2)

    return {name: min(reach(name, index) for index in range(len(images))) for name in expected}


def predict_on_parity_image(card: ModelCard, simulations: Sequence[Simulation], network: Network) -> dict[str, float]:
    """Return the result of :func:`predict` for the parity image."""
    if not simulations:
        return {}
    images = _parity_images(card, parity_image)
    return predict(simulations, images, network.reference(card.submodel, images))


def check(
    artifact: Artifact,
    network: Network,
    runner: Runner,
    calibration: Calibration | None = None,
    simulations: Sequence[Simulation] = (),
    *,
    secretly: bool = False,
) -> Parity:
    """Run a model and compare its outputs with the reference.

    Args:
        artifact: The model.
        network: The network that it was cut from.
        runner: Runs the model.
        calibration: Photos to run the model on; None means the parity image. If the card holds predictions, the model
            is checked against them on the parity image in any case.
        simulations: What the model must compute.
        secretly: Also run the model on an image drawn for this check alone, which no model can have been fitted to.

    Returns:
        The agreement at the tap and image that agree least, with that tap's gate. If there are several sets of images,
        the result is that of the first set, unless another one fails.

    Raises:
        ParityError: With fp16: a layer's values are too large for it.
    """
    card = artifact.card
    sets: list[Images] = []
    if calibration is not None:
        sets.append(calibration.some(card.options.batch or 1, card.options.size or OPEN_SIZE))
    if calibration is None or card.predicted_db:
        sets.append(_parity_images(card, parity_image))
    known = len(sets)
    if secretly:
        sets.append(_parity_images(card, secret_image))
    sets = [images.astype(card.options.input_dtype) for images in sets]
    if card.precision is Precision.FP16:
        _require_half_range(network.largest_values(card.submodel, sets[0]))
    worst: list[Parity] = []
    for number, (images, found) in enumerate(zip(sets, runner(artifact, sets), strict=True)):
        expected = network.reference(card.submodel, images)
        secret = number == known
        on_noise = secret or (bool(card.predicted_db) and number == known - 1)
        predicted = card.predicted_db if on_noise else predict(simulations, images, expected)
        if secret:  # what int8 reaches on it is unknown
            predicted = dict.fromkeys(card.submodel.taps, 0.0) if card.precision is Precision.INT8 else {}
        gates = {
            name: gate_for(card.precision, name, predicted.get(name), on_noise=on_noise) for name in card.submodel.taps
        }
        parities = (
            measure_parity(found[name][index], expected[name][index], gate)
            for name, gate in gates.items()
            for index in range(len(images))
        )
        worst.append(min(parities, key=lambda parity: (parity.passed, parity.snr_db - parity.gate.min_snr_db)))
    return next((parity for parity in worst if not parity.passed), worst[0])


def _require_half_range(values: Mapping[str, float]) -> None:
    layer = max(values, key=values.__getitem__)
    if values[layer] > MAX_FLOAT16:
        raise ParityError(
            f"{layer} reaches {values[layer]:,.0f}; float16 ends at {MAX_FLOAT16:,.0f}.", hint="Use --precision fp32."
        )


def _parity_images(card: ModelCard, draw: Callable[[int, int], npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    image = draw(*(card.options.size or OPEN_SIZE))
    open_batch = 2 if card.submodel.source == ONNX else 1  # such a network may have been written for one image
    return np.stack([np.roll(image, 31 * index, axis=1) for index in range(card.options.batch or open_batch)])
