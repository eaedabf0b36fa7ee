"""Options that several commands share: one flag, one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmedge.submodel import Activation
from fmedge.vgg16 import LAYER_NAMES


def _complete_layer(incomplete: str) -> list[str]:
    return [name for name in LAYER_NAMES if name.startswith(incomplete)]


Layer = Annotated[str, typer.Option(help="Keras' name of the layer to cut after.", autocompletion=_complete_layer)]
OptionalLayer = Annotated[
    str | None,
    typer.Option("--layer", help="Keras' name of the layer. [default: block1_conv1]", autocompletion=_complete_layer),
]
ActivationChoice = Annotated[Activation, typer.Option(help="Values after ReLU, or before it (none).")]
OptionalActivation = Annotated[
    Activation | None, typer.Option("--activation", help="Values after ReLU, or before it (none). [default: relu]")
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="imagenet|untrained|FILE",
        help="Official ImageNet weights, random ones, or a Keras .h5 file. [env: FMEDGE_WEIGHTS; default: imagenet]",
    ),
]
Models = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the models. [env: FMEDGE_MODELS; default: models]")
]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Skip the parity check; the card says so.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON on stdout.")]
