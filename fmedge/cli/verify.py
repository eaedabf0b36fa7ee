"""``fmedge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmedge.cli import options
from fmedge.cli.console import emit, logged_lines, print_json
from fmedge.errors import ParityError, UsageError

_FAILED = {
    False: "fails its parity gate. Export it again: fmedge export.",
    True: "fails its parity gate on this engine and processor. Try another --backend, or see fmedge doctor.",
}
"""Messages for a failed check, by whether the model's integers are known to be right: then the engine is the cause."""


def verify_command(
    model: Annotated[
        Path, typer.Argument(readable=False, metavar="MODEL", help="A model file; its card beside it is read, too.")
    ],
    network: options.Network = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    calibration: options.Calibration = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="MAPS.npz",
            help="Hold it against this instead of its network: images (N, H, W, 3), and each tap's maps (N, C, H, W).",
        ),
    ] = None,
    backend: options.Backend = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    math: options.MathChoice = "fp32",
    allow_fallback: options.AllowFallback = False,
    as_json: options.AsJson = False,
) -> None:
    """Check a model again: its hash against the card's, its outputs against the reference."""
    from fmedge.model.artifact import card_path
    from fmedge.system.files import is_file
    from fmedge.workflow.verification import verify_against, verify_artifact

    run = options.run_options(backend, device, threads, None, math, allow_fallback)
    with logged_lines():
        if reference is None:
            artifact, parity = verify_artifact(
                model, network=network, weights=weights, keras=keras, onnx=onnx, calibration=calibration, run=run
            )
        elif any(each is not None for each in (network, weights, keras, onnx, calibration)):
            raise UsageError("--reference stands for the network. Leave out the options that name one, and photos.")
        else:
            artifact, parity = verify_against(model, reference, run)
    if as_json:
        print_json({"model": str(model), "passed": parity.passed, "parity": parity.to_dict()})
    else:
        whose = "the file matches its card" if is_file(card_path(model)) else "no card beside it"
        emit(f"{model}: {whose}, {parity.describe()}, allowed: {parity.gate.describe()}")
    if not parity.passed:
        raise ParityError(f"'{artifact.path}' {_FAILED[bool(artifact.card.predicted_db)]}")
