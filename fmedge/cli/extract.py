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
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Folders, with all below; patterns; lists (.txt); .tar, Parquet, HDF5; images. Or addresses (s3://...).",
        ),
    ],
    output: Annotated[
        str, typer.Option(metavar="PLACE", help="The data set, new or to be finished: a folder or an address.")
    ],
    layer: Annotated[str | None, options.of_run("layer")] = None,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of images, or of their paths, in Parquet; data set in HDF5."),
    ] = None,
    pool: Annotated[
        str,
        typer.Option(
            metavar="WAY[,...]",
            help="mean, max, gem[:p], grid:N, rmac[:L] or flatten: how maps become vectors. none keeps maps.",
        ),
    ] = "gem",
    form: Annotated[
        Literal["parquet", "zarr", "hdf5", "npy", "safetensors"], typer.Option("--format", help="Form of the files.")
    ] = "parquet",
    dtype: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Number format of the values.")
    ] = "float32",
    l2: Annotated[bool, typer.Option("--l2", help="Divide each vector by its norm.")] = False,
    pca: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Shorten vectors to K values, by a PCA of a sample.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Most images that the PCA is fitted on, evenly chosen. [default: 4096]"),
    ] = None,
    random_projection: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Shorten vectors to K values, by a random projection.")
    ] = None,
    runner: Annotated[
        Literal["local", "ray"], typer.Option(help="What spreads the work: this machine, or a Ray cluster.")
    ] = "local",
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
    model_format: Annotated[
        Format | None, typer.Option(help="Format of the model.", show_default="the engine's")
    ] = None,
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
    """Extract features of many images into a data set; run it again to finish one."""
    from fmedge.bulk.api import find_runner
    from fmedge.bulk.arrow import arrow
    from fmedge.bulk.finding import find_inputs, require_apart
    from fmedge.bulk.rows import Wish
    from fmedge.bulk.stores import open_store
    from fmedge.bulk.wishes import find_pools, find_reduction, require_form
    from fmedge.system.wording import plural
    from fmedge.workflow.model_files import open_model
    from fmedge.workflow.request import default_options, request_artifact

    arrow()  # before anything is exported
    spread = find_runner(runner)
    pools = find_pools(options.split(pool))
    reduction, share = find_reduction(pca, random_projection, sample), _share(shard)
    require_form(form, pools, reduction, l2=l2)
    require_apart(inputs, output)
    store, found = open_store(output), find_inputs(inputs, column)
    run = options.run_options(backend, device, threads, None, "fp32", allow_fallback=False)
    if model is not None:
        prepared = preprocessing, scale, mean, std, order
        chosen = layer, model_format, precision, size, network, weights, keras, onnx, *prepared
        if any(each is not None for each in chosen):
            raise UsageError("--model determines layer, form and weights. Leave out those options.")
        artifact = open_model(model)
    else:
        usual = default_options(run, network, keras, onnx)
        export = replace(
            usual,
            format=model_format or usual.format,
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
            options=export,
        )
        artifact = ensure_artifact(request, run, offline=offline)
    wish = Wish(artifact, pools, form, dtype, l2, reduction, resize, run, shard_size)
    with logged_lines():
        summary = spread(found, wish, store, share=share, retry_failed=retry_failed, progress=ProgressLine())
    if as_json:
        print_json(asdict(summary))
    else:
        rate = f", {summary.computed / summary.seconds:.1f} a second" if summary.computed else ""
        say(f"{summary.computed:,} images computed{rate}; {summary.done:,} of {summary.inputs:,} are in the data set.")
        emit(output)
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
