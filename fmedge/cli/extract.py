"""``fmedge extract``."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, logged_lines, print_json, say
from fmedge.cli.ensure_artifact import ensure_artifact
from fmedge.errors import InputsSkipped, UsageError
from fmedge.model.submodel import Activation, Format, Precision


def extract_command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            readable=False,
            metavar="INPUT...",
            help="Folders, with all below; patterns; lists (.txt); .tar archives; images.",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The data set: a new folder, or one to be finished.")],
    layer: Annotated[str | None, options.of_run("layer")] = None,
    pool: Annotated[
        str,
        typer.Option(
            metavar="WAY[,...]", help="mean, max, gem[:p], grid:N, rmac[:L] or flatten: how maps become vectors."
        ),
    ] = "gem",
    dtype: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Number format of the vectors.")
    ] = "float32",
    l2: Annotated[bool, typer.Option("--l2", help="Divide each vector by its norm.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Compute only this share of the shards: one of N jobs, from 1.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Images of a shard. [default: up to 1024]")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also try inputs again that failed.")] = False,
    activation: options.ActivationChoice = Activation.RELU,
    model: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="MODEL", help="Run this model file instead of one from --models."),
    ] = None,
    model_format: Annotated[Format | None, options.of_run("model_format")] = None,
    precision: Annotated[Precision | None, options.of_run("precision")] = None,
    size: options.Size = None,
    resize: Annotated[
        Literal["nearest", "bilinear", "bicubic"], typer.Option(help="How to resize images to the model's size.")
    ] = "nearest",
    backend: options.Backend = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    network: options.Network = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    preprocessing: options.Preprocessing = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    std: options.Std = None,
    order: options.Order = None,
    models: options.Models = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Extract features of many images into a data set (Parquet); run it again to finish one."""
    from fmedge.bulk.dataset import arrow
    from fmedge.bulk.extraction import Wish, extract_shards
    from fmedge.bulk.inputs import find_inputs
    from fmedge.bulk.pooling import find_pool
    from fmedge.system.wording import plural
    from fmedge.workflow.model_files import open_model
    from fmedge.workflow.request import default_options, request_artifact

    arrow()  # before anything is exported
    pools = tuple(find_pool(words) for words in options.split(pool))
    share = _share(shard)
    found = find_inputs(inputs)
    run = options.run_options(backend, device, threads, None, "fp32", allow_fallback=False)
    if model is not None:
        prepared = preprocessing, scale, mean, std, order
        chosen = layer, model_format, precision, size, network, weights, keras, onnx, *prepared
        if any(each is not None for each in chosen):
            raise UsageError("--model determines layer, form and weights. Leave out those options.")
        artifact = open_model(model)
    else:
        form = default_options(run, network, keras, onnx)
        form = replace(
            form,
            format=model_format or form.format,
            precision=precision or Precision.FP32,
            size=options.parse_size(size),
            preprocessing=options.parse_preprocessing(preprocessing, scale, mean, std, order),
        )
        request = request_artifact(
            layer,
            activation,
            network=network,
            weights=weights,
            keras=keras,
            onnx=onnx,
            models=models,
            options=form,
        )
        artifact = ensure_artifact(request, run, offline=offline)
    wish = Wish(artifact, pools, dtype, l2, resize, run, shard_size)
    with logged_lines():
        summary = extract_shards(found, wish, output, share=share, retry_failed=retry_failed, progress=ProgressLine())
    if as_json:
        print_json({**asdict(summary), "folder": str(output)})
    else:
        rate = f", {summary.computed / summary.seconds:.1f} a second" if summary.computed else ""
        say(f"{summary.computed:,} images computed{rate}; {summary.done:,} of {summary.inputs:,} are in the data set.")
        emit(str(output))
    if summary.failed:
        raise InputsSkipped(f"{plural(summary.failed, 'input')} failed. Which, and why: fmedge dataset info {output}")


def _share(words: str | None) -> tuple[int, int]:
    """Read ``I/N``, from 1."""
    if words is None:
        return 0, 1
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", words)
    if match is None:
        raise UsageError(f"--shard {words}: not a share. Allowed: I/N, such as 3/16.")
    return int(match[1]) - 1, int(match[2])
