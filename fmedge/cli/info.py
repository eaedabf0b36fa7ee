"""``fmedge info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fmedge.cli.console import emit, print_json
from fmedge.cli.options import AsJson
from fmedge.errors import printable


def info_command(
    model: Annotated[
        Path, typer.Argument(readable=False, metavar="MODEL", help="A model file; its card beside it is read, too.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a model is, where it comes from, and whether the file is the one its card describes."""
    from fmedge.model.artifact import weights_path
    from fmedge.workflow.model_files import describe_model

    card, has_card = describe_model(model)
    if as_json:
        print_json(json.loads(card.to_json()))
        return
    parts = [model, *filter(None, [weights_path(model, card.format)])]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    lines = {
        "layer": card.submodel.label,
        "activation": card.describe_activation(),
        "format": f"{card.format}, {card.precision}, {size:,} bytes",
        "weights": card.describe_weights() + (f" ({card.weights.recipe})" if card.weights.recipe else ""),
        **{f"input {spec.name}": spec.describe() for spec in card.inputs},
        **{f"output {spec.name}": spec.describe() for spec in card.outputs},
        **{f"recipe: {name}": text for name, text in card.recipe.items()},
        "preprocessing": card.preprocessing.describe(),
        "parity": card.parity.describe()
        if card.parity
        else "not checked (--no-verify)"
        if has_card
        else "not known: the card beside the file said it",
        "written by": ", ".join(f"{tool} {version}" for tool, version in card.tools.items()),
        "sha256": f"{card.file_sha256} (checked)"
        if has_card
        else "no card beside the file: these are the facts inside it",
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        emit(printable(f"{name:<{width}}  {text}"))
