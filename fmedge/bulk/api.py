"""``fmedge.extract_dataset``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import cast, get_args

from fmedge.bulk.dataset import DType, arrow
from fmedge.bulk.extraction import Summary, Wish, extract_shards
from fmedge.bulk.inputs import find_inputs
from fmedge.bulk.pooling import find_pool
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.run_options import RunOptions
from fmedge.system.choices import StrPath, find_path, one_of, require_switch
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.artifacts import obtain_artifact
from fmedge.workflow.extraction import Resizing, find_resizing
from fmedge.workflow.layer_names import Layers
from fmedge.workflow.request import default_options, request_artifact


def extract_dataset(
    inputs: StrPath | Iterable[StrPath],
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    output: StrPath,
    pool: str | Iterable[str] = "gem",
    dtype: DType = "float32",
    l2: bool = False,
    shard: tuple[int, int] = (1, 1),
    shard_size: int | None = None,
    retry_failed: bool = False,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | None = None,
    onnx: StrPath | None = None,
    preprocessing: str | Preprocessing | None = None,
    models: StrPath | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    offline: bool = False,
    progress: Progress = no_progress,
) -> Summary:
    """Write vectors of many images to a data set, or finish one; export the model first if it is missing.

    Args:
        inputs: Folders with all images below, patterns, lists of paths (``.txt``), ``.tar`` archives, or images.
        layer: As in :func:`extract_many`.
        activation: As in :func:`extract_many`.
        output: Folder of the data set.
        pool: How maps become vectors: ``mean``, ``max``, ``gem:p``, ``grid:N``, ``rmac:L`` or ``flatten``; several make
            a column each.
        dtype: Number format of the vectors: ``float32``, ``float16`` or ``int8``.
        l2: Whether to divide each vector by its norm.
        shard: Which share of the shards to compute: number, from 1, and count of the jobs that share the work.
        shard_size: Images of a shard; None takes 1,024, or fewer where vectors are long.
        retry_failed: Whether to compute shards anew in which inputs failed.
        network: As in :func:`extract_many`; so are the following.
        weights: Weights of a stock network.
        keras: A Keras model.
        onnx: An ONNX network.
        preprocessing: What such a network needs done to pixels.
        models: Folder of the models.
        resize: How images are resized.
        run: Engine, device, and ``threads``: how many images are computed at once, one thread each.
        offline: Never access the internet.
        progress: Receives the progress.

    Returns:
        What became of the inputs. Those that failed are in the manifest, with the reason.

    Raises:
        UsageError: An option is wrong, or the folder holds something else.
        BackendUnavailable: pyarrow or an engine is missing.
        FmedgeError: See :func:`extract_many`.
    """
    arrow()  # before anything is exported
    several = (inputs,) if isinstance(inputs, (str, os.PathLike)) else inputs
    found = find_inputs([find_path("inputs", cast("object", each)) for each in several])
    pools = tuple(find_pool(words) for words in ((pool,) if isinstance(pool, str) else pool))
    one_of("dtype", dtype, get_args(DType))
    require_switch("offline", offline)
    options = replace(default_options(run, network, keras, onnx), preprocessing=preprocessing)
    request = request_artifact(
        layer,
        activation,
        network=network,
        weights=weights,
        keras=keras,
        onnx=onnx,
        models=models,
        options=options,
    )
    artifact = obtain_artifact(request, offline=offline)
    wish = Wish(artifact, pools, dtype, l2, find_resizing(resize), run or RunOptions(), shard_size)
    number, count = shard
    place, share = find_path("output", output), (number - 1, count)
    return extract_shards(found, wish, place, share=share, retry_failed=retry_failed, progress=progress)
