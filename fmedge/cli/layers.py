"""``fmedge layers``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fmedge.cli import options
from fmedge.cli.console import print_json, print_table
from fmedge.model.layer_row import LayerRow


def layers_command(
    network: options.Network = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW|dynamic", help="Height and width of the image. [default: the network's own; 224]"),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the layers: activation, shape, stride, receptive field, parameters, work."""
    from fmedge.workflow.layers import list_layers

    rows = list_layers(network=network, keras=keras, onnx=onnx, size=options.parse_size(size))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    headings = ["layer", "kind", "activation", "C x H x W", "stride", "sees px", "parameters", "MMACs"]
    print_table(headings, map(_cells, rows))


def _cells(row: LayerRow) -> list[str]:
    shape = " x ".join("any" if extent is None else str(extent) for extent in row.shape or ())
    return [
        row.name,
        row.kind,
        row.activation or "-",
        f"{shape} (no maps)".strip() if row.obstacle else shape,
        _per_axis(row.stride),
        _per_axis(row.receptive_field),
        f"{row.parameters:,}",
        "?" if row.macs is None else f"{row.macs / 1e6:,.1f}",
    ]


def _per_axis(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return "?"
    return " x ".join(f"{each:g}" for each in dict.fromkeys(pair))
