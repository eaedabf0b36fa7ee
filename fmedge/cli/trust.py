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
    forget: Annotated[bool, typer.Option("--forget", help="Take them as somebody else's again.")] = False,
) -> None:
    """Take models as your own, such as those that you exported on another machine: they run without a guard."""
    from fmedge import trust
    from fmedge.provision import open_model
    from fmedge.runtime.gate import require_artifact

    artifacts = [open_model(path) for path in models]
    for artifact in artifacts:
        if forget:
            trust.forget(artifact.card)
        else:
            require_artifact(artifact)
            trust.remember(artifact.card)
        state = "somebody else's" if forget else "yours"
        emit(printable(f"{artifact.path}: {state} from now on, with this card"))
