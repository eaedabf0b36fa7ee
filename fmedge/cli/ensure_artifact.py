"""Get the artifact that a command needs, exported first if it is missing, and print messages about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmedge.cli.console import ProgressLine, logged_lines, say

if TYPE_CHECKING:
    from fmedge.model.artifact import Artifact
    from fmedge.model.run_options import RunOptions
    from fmedge.workflow.request import ArtifactSpec


def ensure_artifact(request: ArtifactSpec, run: RunOptions, *, offline: bool) -> Artifact:
    """Read an artifact; if it is missing, or not the requested one, print a message and export it.

    Args:
        request: The artifact to get.
        run: Names the engine that will run it; after an export it also checks it, on the CPU.
        offline: Never touch the network.

    Raises:
        FmedgeError: See ``obtain_artifact``.
    """
    from fmedge.model.run_options import RunOptions
    from fmedge.workflow.artifacts import obtain_artifact

    def tell(request: ArtifactSpec) -> None:
        for note in request.notes:
            say(note)
        say(f"Exporting {request.title} first: it is missing, or not as requested.")

    check = RunOptions(run.backend, threads=run.threads)
    with logged_lines():
        return obtain_artifact(request, offline=offline, run=check, on_export=tell, progress=ProgressLine())


def tell_of_guard(artifact: Artifact) -> None:
    """Print that a model runs in a separate process, and how to change that, unless it was made here."""
    from fmedge.model import known_models

    if not known_models.is_known(artifact.card):
        say(
            f"{artifact.path.name} was not made here, so it runs in its own process. "
            f"If it is yours: fmedge trust {artifact.path}"
        )
