"""Options that several commands share: each flag has one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fmedge.cli.parsing import parse_batch as parse_batch
from fmedge.cli.parsing import parse_cpus as parse_cpus
from fmedge.cli.parsing import parse_fixed_size as parse_fixed_size
from fmedge.cli.parsing import parse_list as parse_list
from fmedge.cli.parsing import parse_preprocessing as parse_preprocessing
from fmedge.cli.parsing import parse_size as parse_size
from fmedge.cli.parsing import parse_threads as parse_threads
from fmedge.cli.parsing import run_options as run_options
from fmedge.cli.parsing import split as split
from fmedge.cli.run_command import OPTIONS
from fmedge.model.run_options import Math
from fmedge.model.stock import STOCK
from fmedge.model.submodel import ALL, Activation, Layout


def _complete_layer(incomplete: str) -> list[str]:
    names = dict.fromkeys(name for table in STOCK.values() for name in table.names)
    return [name for name in (*names, ALL) if name.startswith(incomplete)]


def of_run(name: str) -> Any:  # noqa: ANN401 - as Typer's own function
    """Return an option that ``fmedge run`` has, too."""
    option = OPTIONS[name]
    return typer.Option(
        option.flag,
        metavar=option.metavar or None,
        help=option.help,
        readable=False,
        show_default="[default: " not in option.help,
        autocompletion=_complete_layer if name == "layer" else None,
    )


LayerList = Annotated[
    str,
    typer.Option(
        "--layer",
        metavar="LAYER[,LAYER|+LAYER]|all",
        help="Name of the layer to cut after; a,b: one artifact each; a+b: one model with two outputs; "
        "all: one model with every layer.",
        autocompletion=_complete_layer,
    ),
]
FormatList = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="onnx|tflite|ncnn|native[,...]",
        help="Model format. [default: onnx, or that of the installed engine]",
    ),
]
PrecisionList = Annotated[str, typer.Option("--precision", metavar="fp32|fp16|int8[,...]", help="Number format.")]
Calibration = Annotated[
    Path | None,
    typer.Option(
        readable=False, metavar="DIR", help="Folder of photos from which int8 takes its ranges; 64 suggested."
    ),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="N|HxW|dynamic", help="Height and width of the image. [default: the network's own; 224]"),
]
Batch = Annotated[str, typer.Option(metavar="N|dynamic", help="Images per run.")]
Network = Annotated[str | None, of_run("network")]
Keras = Annotated[Path | None, of_run("keras")]
Onnx = Annotated[Path | None, of_run("onnx")]
_ACTIVATION_HELP = "Values after the layer's activation (relu, whichever it is) or before it (none)."

ActivationChoice = Annotated[Activation, typer.Option(help=_ACTIVATION_HELP)]
OptionalActivation = Annotated[
    Activation | None, typer.Option("--activation", help=f"{_ACTIVATION_HELP} [default: relu]")
]
Weights = Annotated[str | None, of_run("weights")]
Models = Annotated[Path | None, of_run("models")]
Offline = Annotated[bool, of_run("offline")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Skip the parity check; the card records that.")]
MaxPixels = Annotated[int | None, of_run("max_pixels")]
Backend = Annotated[str | None, of_run("backend")]
Device = Annotated[str, of_run("device")]
BackendList = Annotated[
    str | None,
    typer.Option("--backend", metavar="ENGINE[,...]", help="Engines. [default: all installed]"),
]
ThreadsList = Annotated[
    str | None, typer.Option("--threads", metavar="N[,N]", help="CPU threads. [default: one per core]")
]
FixedSize = Annotated[
    str | None,
    typer.Option("--size", metavar="N|HxW", help="Height and width of the image. [default: the network's own; 224]"),
]
StepTimeout = Annotated[
    float, typer.Option("--timeout", min=1, max=86_400, help="Time limit for loading and for each turn, in s.")
]
ReportFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", readable=False, metavar="FILE", help="Write a .json, .csv, .md or .html file; may be repeated."
    ),
]
Energy = Annotated[
    bool, typer.Option("--energy", help="Also measure the energy per image, where the machine has a power sensor.")
]
Governor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Set every core's governor, such as performance, and restore it afterwards."),
]
CoolDown = Annotated[
    float | None,
    typer.Option(min=0, max=150, metavar="C", help="Before each turn wait until the processor is that cool, in °C."),
]
WarmUp = Annotated[
    float, typer.Option("--warm-up", min=0, max=3600, help="Minimum seconds of warm-up of each process.")
]
Threads = Annotated[int | None, of_run("threads")]
Cpus = Annotated[str | None, of_run("cpus")]
MathChoice = Annotated[Math, of_run("math")]
AllowFallback = Annotated[bool, of_run("allow_fallback")]
AsJson = Annotated[bool, of_run("as_json")]

Preprocessing = Annotated[str | None, of_run("preprocessing")]
Scale = Annotated[str | None, of_run("scale")]
Mean = Annotated[str | None, of_run("mean")]
Std = Annotated[str | None, of_run("std")]
Order = Annotated[Literal["rgb", "bgr"] | None, of_run("order")]

LAYOUTS: dict[str, Layout] = {"nchw": "NCHW", "nhwc": "NHWC"}
