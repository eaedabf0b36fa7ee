"""``fmedge export``."""

from __future__ import annotations

import json

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, print_json, say
from fmedge.submodel import Activation


def export_command(
    layer: options.Layer = "block1_conv1",
    activation: options.ActivationChoice = Activation.RELU,
    weights: options.Weights = None,
    models: options.Models = None,
    no_verify: options.NoVerify = False,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Cut VGG16 after a layer and write it as an ONNX model with its card."""
    from fmedge.pipeline import export_submodel

    artifact = export_submodel(
        layer,
        activation,
        weights=weights,
        models=models,
        verify=not no_verify,
        offline=offline,
        progress=ProgressLine(),
    )
    card = artifact.card
    if card.weights.kind == "untrained":
        say("Note: untrained weights. The maps will show random filters, not learned ones.")
    if as_json:
        print_json({"model": str(artifact.path), "size_bytes": len(artifact.model), "card": json.loads(card.to_json())})
        return
    parity = card.parity.describe() if card.parity else "not checked"
    emit(str(artifact.path))
    say(f"{len(artifact.model) / 1e6:.2f} MB, {card.weights.describe()}, parity: {parity}.")
    say(f"Next: fmedge run photo.jpg --model {artifact.path}")
