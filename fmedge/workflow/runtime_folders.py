"""Write the folder for machines without Python beside a model for fmedge's own kernels."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingImports=false, reportUnknownArgumentType=false

from __future__ import annotations

from pathlib import Path

from fmedge.errors import BackendUnavailable, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Format
from fmedge.system.folders import require_own, write_folder
from fmedge.system.install import NATIVE, install_command
from fmedge.workflow.request import ArtifactSpec


def runtime_folder(model: Path) -> Path:
    """Return the path of the folder that belongs to a model file."""
    from fmedge.export.native.runtime_folder import folder_path

    return folder_path(model)


def require_runtime(request: ArtifactSpec) -> None:
    """Check, before any work, that an artifact's folder can be written.

    Raises:
        UsageError: The model is for other engines.
        BackendUnavailable: The library's package is not installed, or has no sources.
        WriteError: There is another file or folder of that name.
    """
    if request.options.format is not Format.NATIVE:
        raise UsageError(
            f"with_runtime needs format native; this is {request.options.format}.", flags=("--with-runtime", "--format")
        )
    _sources()
    require_own(runtime_folder(request.path))


def create_runtime_folder(artifact: Artifact) -> Path:
    """Write a model's folder: the model, the library's sources, its example, and what that prints.

    The latter is computed here, by the library itself. A folder that this function wrote before is replaced.

    Args:
        artifact: A model for fmedge's own kernels.

    Returns:
        The folder.

    Raises:
        BackendUnavailable: The library's package is not installed, does not load or has no sources.
        WriteError: The disk is full or the like, or there is another file or folder of that name.
    """
    from fmedge.export.native import runtime_folder as folders
    from fmedge.runtime.opening import open_session

    sources = _sources()
    from fmedge.runtime.engines.native_library import best_kernels

    with open_session(artifact, RunOptions(NATIVE)) as session:
        maps = session.run(folders.made_up_image(artifact.card))
    kernels = best_kernels()
    expected = folders.expected_lines(artifact.card, maps, kernels)
    folder = folders.folder_path(artifact.path)
    write_folder(folder, folders.folder_contents(artifact, expected, kernels, sources))
    return folder


def _sources() -> Path:
    """Return the folder of the library's sources."""
    from fmedge.runtime.opening import choose_backend

    choose_backend(RunOptions(NATIVE), Format.NATIVE)
    import fmedge_native

    sources = fmedge_native.sources_path()
    if not (sources / "example" / "main.c").is_file():
        raise BackendUnavailable(
            "fmedge-native is installed without its sources.", hint=f"Install it anew: {install_command(NATIVE)}."
        )
    return sources
