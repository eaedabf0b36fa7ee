"""``fmedge layers``."""

from __future__ import annotations

from typing import Annotated

import typer

from fmedge.cli.console import print_json, print_table
from fmedge.cli.options import AsJson
from fmedge.errors import UsageError
from fmedge.model.vgg16 import INPUT_SIZE, VGG16_LAYERS


def layers_command(
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Height and width of the input image.")] = INPUT_SIZE[0],
    as_json: AsJson = False,
) -> None:
    """List the layers: shape, stride, receptive field, parameters, work."""
    smallest = VGG16_LAYERS[-1].stride
    if size < smallest:
        raise UsageError(f"--size {size}: VGG16 halves the image five times. Allowed: {smallest} or more.")
    rows = [
        {
            "layer": spec.name,
            "kind": spec.kind,
            "channels": spec.channels,
            "shape": list(spec.output_shape(size, size)),
            "stride": spec.stride,
            "receptive_field": spec.receptive_field,
            "parameters": spec.parameters,
            "macs": spec.macs(size, size),
        }
        for spec in VGG16_LAYERS
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["layer", "C x H x W", "stride", "sees px", "parameters", "MMACs"],
        (
            [
                spec.name,
                " x ".join(map(str, spec.output_shape(size, size))),
                str(spec.stride),
                str(spec.receptive_field),
                f"{spec.parameters:,}",
                f"{spec.macs(size, size) / 1e6:,.1f}",
            ]
            for spec in VGG16_LAYERS
        ),
    )
