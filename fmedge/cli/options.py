"""Options that several commands share: one flag, one meaning."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from fmedge.errors import UsageError, closest
from fmedge.run_options import Math, RunOptions
from fmedge.submodel import ALL, Activation, Layout
from fmedge.vgg16 import LAYER_NAMES


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
Size = Annotated[str, typer.Option(metavar="N|HxW|dynamic", help="Height and width of the image.")]
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
ActivationChoice = Annotated[Activation, typer.Option(help="Values after ReLU, or before it (none).")]
OptionalActivation = Annotated[
    Activation | None, typer.Option("--activation", help="Values after ReLU, or before it (none). [default: relu]")
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
    Literal["vgg16", "none"],
    typer.Option(help="With --keras: what it wants done to pixels; none: RGB, 0 to 255."),
]

_MOST_THREADS = 1024
"""No machine has more cores; the session allows fewer still."""

LAYOUTS: dict[str, Layout] = {"nchw": "NCHW", "nhwc": "NHWC"}

Choice = TypeVar("Choice", bound=StrEnum)


def split(words: str) -> list[str]:
    """The words between commas, each once.

    Raises:
        UsageError: There is none.
    """
    found = list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    if not found:
        raise UsageError(f"'{words}' names nothing. Give a word, or several with commas between.")
    return found


def parse_list(words: str, choices: type[Choice]) -> list[Choice]:
    """Words between commas, each one of an enumeration.

    Raises:
        UsageError: One is none of them.
    """
    allowed = [str(choice) for choice in choices]
    for word in split(words):
        if word not in allowed:
            raise UsageError(
                f"Unknown {choices.__name__.lower()} '{word}'.{closest(word, allowed)} Allowed: {', '.join(allowed)}."
            )
    return [choices(word) for word in split(words)]


def parse_size(word: str) -> tuple[int, int] | None:
    """``N``, ``HxW`` in pixels, or ``dynamic`` (None).

    Raises:
        UsageError: It is none of these.
    """
    if word == "dynamic":
        return None
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", word)
    if match is None:
        raise UsageError(f"--size {word}: not a size. Allowed: a number, HEIGHTxWIDTH, dynamic.")
    return int(match[1]), int(match[2] or match[1])


def parse_fixed_size(word: str) -> tuple[int, int]:
    """``N`` or ``HxW`` in pixels.

    Raises:
        UsageError: It is neither.
    """
    size = parse_size(word)
    if size is None:
        raise UsageError("--size dynamic: a run has one size. Give it: --size 224, or HEIGHTxWIDTH.")
    return size


def parse_threads(words: str) -> tuple[int, ...]:
    """Numbers of threads between commas, each once.

    Raises:
        UsageError: One is none.
    """
    for word in split(words):
        if not word.isdecimal() or not 1 <= int(word) <= _MOST_THREADS:
            raise UsageError(f"--threads {words}: '{word}' is no number of threads. Allowed: 1, 2 and so on.")
    return tuple(dict.fromkeys(map(int, split(words))))


def parse_batch(word: str) -> int | None:
    """A number of images, or ``dynamic`` (None).

    Raises:
        UsageError: It is neither.
    """
    if word == "dynamic":
        return None
    if not re.fullmatch(r"\d{1,5}", word):
        raise UsageError(f"--batch {word}: not a number of images. Allowed: 1, 2, 3… or dynamic.")
    return int(word)


def parse_cpus(words: str) -> tuple[int, ...]:
    """Numbers of cores between commas, each once.

    Raises:
        UsageError: One is no number.
    """
    for word in split(words):
        if not re.fullmatch(r"\d{1,5}", word):
            raise UsageError(f"--cpus {words}: '{word}' is not a core's number. Allowed: 0, or 0,1 and so on.")
    return tuple(dict.fromkeys(map(int, split(words))))


def run_options(
    backend: str | None, device: str, threads: int | None, cpus: str | None, math: Math, allow_fallback: bool
) -> RunOptions:
    """How a model is run, from the flags that several commands share.

    Raises:
        UsageError: ``cpus`` are no numbers.
    """
    return RunOptions(
        backend, device, threads, None if cpus is None else parse_cpus(cpus), math, allow_fallback=allow_fallback
    )
