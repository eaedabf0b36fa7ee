"""What a command of ``fmedge run`` asks for, wherever it is run: do its options agree, and which artifact is meant?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fmedge.cli.console import logged_lines, say
from fmedge.cli.parsing import run_options
from fmedge.cli.run_command import RunCommand
from fmedge.data.page_options import PageOptions
from fmedge.errors import UsageError

if TYPE_CHECKING:
    from fmedge.cli.run_outputs import Drawing
    from fmedge.model.preprocessing import Preprocessing
    from fmedge.model.run_options import RunOptions
    from fmedge.model.submodel import ExportOptions
    from fmedge.workflow.request import ArtifactSpec
    from fmedge.workflow.tuned_choice import Adopted


def require_agreement(asked: RunCommand, prepared: str | Preprocessing | None) -> bool:
    """Check that the options do not contradict each other.

    Returns:
        Whether they settle how the model is run, so that no tuned choice applies.

    Raises:
        UsageError: They contradict each other.
    """
    layer = asked.layer
    if layer is not None and re.search(r"(?<!\\),", layer):
        raise UsageError(
            f"--layer {layer}: a run takes one model. To run all at once: --layer {layer.replace(',', '+')}"
        )
    activation = None if asked.activation == "both" else asked.activation
    network = (asked.network, asked.weights, asked.keras, asked.onnx, asked.size, prepared)
    chosen = (layer, activation, asked.models, asked.model_format, asked.precision, *network)
    if asked.model is not None and any(choice is not None for choice in chosen):
        raise UsageError("--model determines layer, form and weights. Leave out those options.")
    forms = (asked.model, asked.model_format, asked.precision, asked.backend)
    settled = any(form is not None for form in forms) or asked.device != "cpu" or asked.math != "fp32"
    if asked.tuned and settled:
        raise UsageError("--tuned determines engine, device, form and arithmetic. Leave out those options.")
    if asked.no_page and asked.output is not None:
        raise UsageError("--no-page writes no page. Leave out --output.")
    return settled


def request_for(asked: RunCommand, form: ExportOptions, sha256: Callable[[], str] | None) -> ArtifactSpec:
    """Return which artifact a command refers to, in a form; see :func:`fmedge.workflow.request.request_artifact`."""
    from fmedge.workflow.request import request_artifact

    return request_artifact(
        asked.layer,
        "none" if asked.activation == "both" else asked.activation,
        channel=asked.channel,
        network=asked.network,
        weights=asked.weights,
        keras=asked.keras,
        onnx=asked.onnx,
        models=asked.models,
        options=form,
        sha256=sha256,
    )


def drawing_of(asked: RunCommand) -> Drawing:
    """Return what a command draws, and where."""
    from fmedge.cli.run_outputs import Drawing
    from fmedge.data.image_list import expand_images, is_several

    run = run_options(asked.backend, asked.device, asked.threads, asked.cpus, asked.math, asked.allow_fallback)
    return Drawing(
        images=expand_images(asked.images),
        alone=len(asked.images) == 1 and not is_several(asked.images[0]),
        page=asked.output,
        no_page=asked.no_page,
        maps=asked.save_maps,
        sheet=asked.png,
        channel=asked.channel,
        options=PageOptions(asked.values, asked.plotlyjs, asked.activation == "both", asked.style),
        resize=asked.resize,
        run=replace(run, max_pixels=asked.max_pixels),
        as_json=asked.as_json,
    )


def adopted_choice(request: ArtifactSpec, run: RunOptions, *, anyway: bool, board: str = "") -> Adopted | None:
    """Return the tuned choice that a run uses, and say so; see :func:`fmedge.workflow.tuned_choice.adopt`."""
    from fmedge.workflow.tuned_choice import adopt

    with logged_lines():
        adopted = adopt(request, run, anyway=anyway, board=board)
    if adopted is not None:
        say(adopted.words)
    return adopted
