"""Options that several commands share: one flag, one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
from fmedge.model.run_options import Math
from fmedge.model.submodel import ALL, Activation, Layout
from fmedge.model.vgg16 import LAYER_NAMES


def _complete_layer(incomplete: str) -> list[str]:
    return [name for name in (*LAYER_NAMES, ALL) if name.startswith(incomplete)]


LayerList = Annotated[
    str,
    typer.Option(
        "--layer",
        metavar="LAYER[,LAYER|+LAYER]|all",
        help="Keras' name of the layer to cut after; a,b: an artifact each; a+b: one model with two outputs; "
        "all: one model with every layer.",
        autocompletion=_complete_layer,
    ),
]
FormatList = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="onnx|tflite|ncnn[,...]",
        help="Kind of model file. [default: onnx, or that of the engine that is installed]",
    ),
]
PrecisionList = Annotated[str, typer.Option("--precision", metavar="fp32|fp16|int8[,...]", help="Number format.")]
Calibration = Annotated[
    Path | None,
    typer.Option(
        readable=False, metavar="DIR", help="Folder of photos: int8 takes its ranges from them; 64 suggested."
    ),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="N|HxW|dynamic", help="Height and width of the image. [default: the Keras model's own; 224]"),
]
Batch = Annotated[str, typer.Option(metavar="N|dynamic", help="Images per run.")]
Keras = Annotated[
    Path | None,
    typer.Option(readable=False, metavar="FILE", help="A Keras model of your own, .keras or .h5, in place of VGG16."),
]
RunLayer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        metavar="LAYER[+LAYER]|all",
        help="Keras' name of the layer; a+b or all: several in one pass, a page each. [default: block1_conv1]",
        autocompletion=_complete_layer,
    ),
]
_ACTIVATION_HELP = "Values after the layer's activation (relu, whatever it is), or before it (none)."

ActivationChoice = Annotated[Activation, typer.Option(help=_ACTIVATION_HELP)]
OptionalActivation = Annotated[
    Activation | None, typer.Option("--activation", help=f"{_ACTIVATION_HELP} [default: relu]")
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="imagenet|untrained|FILE",
        help="Official ImageNet weights, random ones, or a Keras .h5 file. [env: FMEDGE_WEIGHTS; default: imagenet]",
    ),
]
Models = Annotated[
    Path | None,
    typer.Option(readable=False, metavar="DIR", help="Folder of the models. [env: FMEDGE_MODELS; default: models]"),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Skip the parity check; the card says so.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Refuse photos of more pixels; up to 178956970. [default: 89478485]", show_default=False
    ),
]
Backend = Annotated[
    str | None, typer.Option(metavar="ENGINE", help="Engine. [default: the first that is installed and runs the model]")
]
Device = Annotated[
    str,
    typer.Option(metavar="cpu|gpu|NAME", help="Where it computes, or not at all; gpu: the best that is there."),
]
BackendList = Annotated[
    str | None,
    typer.Option("--backend", metavar="ENGINE[,...]", help="Engines. [default: all that are installed]"),
]
ThreadsList = Annotated[
    str | None, typer.Option("--threads", metavar="N[,N]", help="CPU threads. [default: one per core]")
]
FixedSize = Annotated[str, typer.Option("--size", metavar="N|HxW", help="Height and width of the image.")]
StepTimeout = Annotated[
    float, typer.Option("--timeout", min=1, max=86_400, help="Longest time for loading, or a turn, in s.")
]
ReportFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", readable=False, metavar="FILE", help="Write .json, .csv, .md or .html; several times, too."
    ),
]
Threads = Annotated[int | None, typer.Option(help="CPU threads in all. [default: one per core]")]
Cpus = Annotated[str | None, typer.Option(metavar="N[,N]", help="Numbers of the cores to compute on. [default: all]")]
MathChoice = Annotated[Math, typer.Option("--math", help="Arithmetic of a float model.")]
AllowFallback = Annotated[
    bool, typer.Option("--allow-fallback", help="Compute on the CPU what the device does not take, and say so.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON on stdout.")]

Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="caffe|tf|torch|unit|none",
        help="With --keras: what it wants done to pixels. caffe: as VGG16; tf: -1 to 1; torch: ImageNet's mean and "
        "deviation; unit: 0 to 1; none: 0 to 255. [default: none, where it starts with Rescaling or Normalization]",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="S", help="With --keras, in place of a word: (x * S - M) / D, x from 0 to 255. S: such as 1/255."
    ),
]
Mean = Annotated[str | None, typer.Option(metavar="M[,M,M]", help="Mean, for all channels or each. [default: 0]")]
Std = Annotated[str | None, typer.Option(metavar="D[,D,D]", help="Divisor, for all channels or each. [default: 1]")]
Order = Annotated[
    Literal["rgb", "bgr"] | None, typer.Option(help="Order of the model's channels, and of M and D. [default: rgb]")
]

LAYOUTS: dict[str, Layout] = {"nchw": "NCHW", "nhwc": "NHWC"}
