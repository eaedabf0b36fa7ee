"""The arguments of ``fmedge run``: one record and one table, from which both parsers are built.

:mod:`fmedge.cli.run` builds the Typer command from them, :mod:`fmedge.cli.fast_parser` parses usual command lines
without Typer, and :mod:`fmedge.cli.run_job` does what the record says.
"""

# Annotations must be values here, not text, because the parsers read them.

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from fmedge.data.page_options import PlotlyPlace, Style, Values
from fmedge.model.run_options import Math
from fmedge.model.submodel import Format, Precision


class RunCommand(NamedTuple):
    """The arguments of ``fmedge run``; their types say how words are read, and :data:`OPTIONS` says what they mean.

    It is not a dataclass, because defining one takes longer, at every start.
    """

    images: list[Path]
    layer: str | None = None
    activation: Literal["relu", "none", "both"] | None = None
    channel: int | None = None
    output: Path | None = None
    no_page: bool = False
    save_maps: Path | None = None
    png: Path | None = None
    values: Values = "12bit"
    plotlyjs: PlotlyPlace = "embed"
    style: Style = "viewer"
    model: Path | None = None
    resize: Literal["nearest", "bilinear", "bicubic", "none"] = "nearest"
    max_pixels: int | None = None
    model_format: Format | None = None
    precision: Precision | None = None
    size: str | None = None
    tuned: bool | None = None
    backend: str | None = None
    device: str = "cpu"
    threads: int | None = None
    cpus: str | None = None
    math: Math = "fp32"
    allow_fallback: bool = False
    network: str | None = None
    weights: str | None = None
    keras: Path | None = None
    onnx: Path | None = None
    preprocessing: str | None = None
    scale: str | None = None
    mean: str | None = None
    std: str | None = None
    order: Literal["rgb", "bgr"] | None = None
    models: Path | None = None
    offline: bool = False
    on: str | None = None
    as_json: bool = False


class Option(NamedTuple):
    """An option as a user writes it.

    Attributes:
        flag: Its name; a switch may have a second name, after a slash, that turns it off.
        help: What it does.
        metavar: What its value looks like; empty where the type says it.
    """

    flag: str
    help: str
    metavar: str = ""


OPTIONS: Mapping[str, Option] = {
    "layer": Option(
        "--layer",
        "Name of the layer; a+b: several in one pass; all: every layer of a stock network. [default: block1_conv1]",
        "LAYER[+LAYER]|all",
    ),
    "activation": Option(
        "--activation",
        "Values after the layer's activation (relu, whichever it is), before it (none), or both on one page. "
        "[default: relu]",
    ),
    "channel": Option("--channel", "Draw only this channel, counted from 0."),
    "output": Option(
        "--output",
        "The page; for several images or layers, a folder, or one page for all layers of up to four images. "
        "[default: IMAGE.LAYER.html, here]",
        "PAGE.html|DIR",
    ),
    "no_page": Option("--no-page", "Write no page."),
    "save_maps": Option(
        "--save-maps",
        "Also save the maps as a NumPy archive; for several images or layers, a folder.",
        "MAPS.npz|DIR",
    ),
    "png": Option(
        "--png",
        "Also draw all channels as a picture; for several images or layers, a folder.",
        "SHEET.png|DIR",
    ),
    "values": Option("--values", "Number format of the values in the page."),
    "plotlyjs": Option(
        "--plotlyjs", "Where plotly.js is: inside the page, on Plotly's server, or in a file beside it."
    ),
    "style": Option("--style", "The viewer, or one figure with a heatmap per channel."),
    "model": Option("--model", "Run this model file instead of one from --models.", "MODEL"),
    "resize": Option("--resize", "How to resize the photo to the model's size; none: not at all."),
    "max_pixels": Option(
        "--max-pixels", "Refuse photos with more pixels than this; at most 178956970. [default: 89478485]", "N"
    ),
    "model_format": Option("--format", "Model format. [default: the engine's]"),
    "precision": Option("--precision", "Number format. [default: fp32]"),
    "size": Option("--size", "Size of the model's image. [default: the network's own; 224]", "N|HxW|dynamic"),
    "tuned": Option(
        "--tuned/--untuned",
        "Use what fmedge tune chose, even if less exact, or ignore it. [default: use it if exact and made here]",
    ),
    "backend": Option("--backend", "Engine. [default: the first installed one that runs the model]", "ENGINE"),
    "device": Option("--device", "Device to compute on; an error if it is missing. gpu: the best one.", "cpu|gpu|NAME"),
    "threads": Option("--threads", "CPU threads in total. [default: one per core]"),
    "cpus": Option("--cpus", "Cores to compute on: numbers, or a kind. [default: all]", "N[,N]|big|little|all"),
    "math": Option("--math", "Arithmetic of float models."),
    "allow_fallback": Option("--allow-fallback", "Compute on the CPU what the device cannot compute, and say so."),
    "network": Option(
        "--network",
        "Stock network, or another of keras.applications with a file of its weights. [default: vgg16]",
        "vgg16|vgg19|NAME",
    ),
    "weights": Option(
        "--weights",
        "Its official ImageNet weights, random ones, or a Keras .h5 file. [env: FMEDGE_WEIGHTS; default: imagenet]",
        "imagenet|untrained|FILE",
    ),
    "keras": Option("--keras", "Your own Keras model, .keras or .h5, instead of a stock network.", "FILE"),
    "onnx": Option("--onnx", "Your own ONNX network instead of a stock one.", "FILE"),
    "preprocessing": Option(
        "--preprocessing",
        "With --keras or --onnx: the preprocessing it expects. caffe: as VGG16; tf: -1 to 1; torch: ImageNet's mean "
        "and deviation; unit: 0 to 1; none: 0 to 255. "
        "[default: none, if the model starts with Rescaling or Normalization]",
        "caffe|tf|torch|unit|none",
    ),
    "scale": Option(
        "--scale",
        "In place of --preprocessing: (x * S - M) / D, with x from 0 to 255. S: such as 1/255.",
        "S",
    ),
    "mean": Option("--mean", "M: mean, one number or one per channel. [default: 0]", "M[,M,M]"),
    "std": Option("--std", "D: divisor, one number or one per channel. [default: 1]", "D[,D,D]"),
    "order": Option("--order", "Order of the model's channels, and of M and D. [default: rgb]"),
    "models": Option("--models", "Folder of the models. [env: FMEDGE_MODELS; default: models]", "DIR"),
    "offline": Option("--offline", "Never use the network."),
    "on": Option("--on", "On this board instead of here. See: fmedge boards.", "NAME"),
    "as_json": Option("--json", "Print data as JSON on stdout."),
}
"""The option for each argument of :class:`RunCommand` except the images; other commands take their options from here,
too."""
