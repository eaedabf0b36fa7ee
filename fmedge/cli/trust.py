"""``fmedge trust``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmedge.cli.console import emit
from fmedge.errors import printable


def trust_command(
    models: Annotated[
        list[Path],
        typer.Argument(readable=False, metavar="MODEL...", help="Model files with their cards."),
    ],
    forget: Annotated[bool, typer.Option("--forget", help="Stop trusting them.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Trust models, such as those that you exported on another machine: they then run without a guard."""
    from fmedge.model import known_models
    from fmedge.runtime.gate.checks import require_artifact
    from fmedge.workflow.model_files import open_model

    artifacts = [open_model(path) for path in models]
    for artifact in artifacts:
        if forget:
            known_models.forget(artifact.card)
        else:
            require_artifact(artifact)
            known_models.remember(artifact.card)
        state = "not trusted" if forget else "trusted"
        if not quiet:
            emit(printable(f"{artifact.path}: {state} from now on, with this card"))
