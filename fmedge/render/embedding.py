"""Embed a page in another: an iframe that holds all of it, for notebooks and web apps."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.page_options import PageOptions
from fmedge.errors import UsageError
from fmedge.render.captions import write_captions
from fmedge.render.page import Kernels, render_page
from fmedge.system.choices import require_record, require_whole

_SANDBOX = "allow-scripts allow-downloads"
"""What the page may do inside the frame: run its own scripts and save files. It cannot reach the page around it."""


def embed(
    maps: FeatureMaps | Sequence[FeatureMaps],
    *,
    height: int = 720,
    channel: int | None = None,
    options: PageOptions | None = None,
    kernels: Kernels | None = None,
) -> str:
    """Draw feature maps as a page inside an ``<iframe>``: HTML for notebooks and apps.

    Show it with ``IPython.display.HTML``, ``streamlit.components.v1.html`` or ``gradio.HTML``. The frame is as wide as
    there is room, holds all of the page and needs no server.

    Args:
        maps: As for :func:`fmedge.render_page`.
        height: Of the frame, in CSS pixels, at least 1.
        channel: Number of the one channel to hold, counted from 0; None holds all of them.
        options: How the page is made; None takes the defaults.
        kernels: Kernels of layers that see the photo itself, where they are known.

    Raises:
        UsageError: The height is no whole number from 1, plotly.js is to lie beside the page, which has no place of
            its own here, or as for :func:`fmedge.render_page`.
        LimitExceeded: There are too many values for a page.
        BackendUnavailable: With style ``grid``: the plotly package is not installed.
    """
    require_whole("height", height)
    if height < 1:
        raise UsageError(f"height {height}: a frame has at least 1 pixel.")
    require_record("options", options, PageOptions)
    options = options or PageOptions()
    if options.plotlyjs == "file":
        raise UsageError("plotlyjs 'file': a page inside another has no folder. Allowed: embed, cdn.")
    page = render_page(maps, channel=channel, options=options, kernels=kernels).decode()
    captions = write_captions([maps] if isinstance(maps, FeatureMaps) else list(maps), channel, options)
    title = f"{captions.title}, {captions.subtitle}".encode("utf-8", "replace").decode()
    return (
        f'<iframe title="{escape(title)}" width="100%" height="{height}" sandbox="{_SANDBOX}" '
        f'style="border: 0" srcdoc="{escape(page)}"></iframe>\n'  # without the line's end IPython warns of iframes
    )
