"""Write feature maps to files (page, archive and picture), and find what else of the model a page shows."""

from __future__ import annotations

from pathlib import Path

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.page_options import PageOptions
from fmedge.model.artifact import Artifact
from fmedge.model.first_kernel import FirstKernel
from fmedge.model.submodel import Format
from fmedge.render.page import Kernels, render_page
from fmedge.render.plotly_js import script_file
from fmedge.system.files import write_bytes
from fmedge.system.reading import file_holds
from fmedge.workflow.output_paths import Outputs


def write_outputs(
    maps: FeatureMaps,
    outputs: Outputs,
    channel: int | None,
    options: PageOptions | None,
    kernels: Kernels | None = None,
) -> None:
    """Write the page, the archive and the picture of one layer, or those of them that are requested.

    Args:
        maps: The layer's maps.
        outputs: The files to write.
        channel: Draw this channel alone; None draws all.
        options: How the page is made; None means the defaults.
        kernels: As :func:`first_kernels` returns them.

    Raises:
        WriteError: A file cannot be written.
        FmedgeError: See :func:`fmedge.render.render_page` and :func:`fmedge.render.sheet.render_sheet`.
    """
    if outputs.maps is not None:
        maps.save(outputs.maps)
    if outputs.sheet is not None:
        from fmedge.render.sheet import render_sheet

        write_bytes(outputs.sheet, render_sheet(maps, channel=channel, options=options))
    if outputs.page is not None:
        write_page(outputs.page, [maps], channel, options, kernels)


def write_page(
    page: Path,
    layers: list[FeatureMaps],
    channel: int | None,
    options: PageOptions | None,
    kernels: Kernels | None,
) -> None:
    """Write one page for several layers of a photo, and the script file next to it if the page needs one.

    Raises:
        WriteError: A file cannot be written.
        FmedgeError: See :func:`fmedge.render.render_page`.
    """
    write_bytes(page, render_page(layers, channel=channel, options=options, kernels=kernels))
    if options is not None and options.plotlyjs == "file":
        name, script = script_file()
        if not file_holds(page.parent / name, script):  # a foreign script would run in the page
            write_bytes(page.parent / name, script)


def first_kernels(artifact: Artifact) -> dict[str, FirstKernel]:
    """Return the kernels of taps whose convolution reads the photo, as :func:`fmedge.render.render_page` takes them.

    Returns:
        Per such tap its kernels. Empty if there is none, for kernels of integers, and for files of TFLite and ncnn.
    """
    if artifact.card.format is Format.ONNX:
        from fmedge.runtime.gate import onnx_kernels

        return onnx_kernels.first_kernels(artifact.model, artifact.card.submodel.taps)
    if artifact.card.format is Format.NATIVE:
        from fmedge.runtime.gate import native_kernels

        return native_kernels.first_kernels(artifact.model, artifact.card)
    return {}
