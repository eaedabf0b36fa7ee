"""``fmedge.extract_dataset``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, cast, get_args

from fmedge.bulk.arrow import arrow
from fmedge.bulk.extraction import Summary, extract_shards
from fmedge.bulk.finding import find_inputs, named_inputs, require_apart
from fmedge.bulk.key import DType, FormatName
from fmedge.bulk.rows import Wish
from fmedge.bulk.stores import open_store
from fmedge.bulk.wishes import find_address, find_pools, find_reduction, require_form
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.run_options import RunOptions
from fmedge.system.choices import StrPath, one_of, require_switch
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.artifacts import prepare_artifact
from fmedge.workflow.extraction import Resizing, find_resizing
from fmedge.workflow.layer_names import Layers

Runner = Literal["local", "ray"]


class RayDataset(Protocol):
    """A ``ray.data.Dataset``."""

    def select_columns(self, cols: list[str]) -> Any:  # noqa: ANN401
        """Return a data set of some columns."""
        ...


def extract_dataset(
    inputs: StrPath | Iterable[StrPath] | RayDataset,
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    output: StrPath,
    column: str | None = None,
    pool: str | Iterable[str] = "gem",
    format: FormatName = "parquet",  # noqa: A002 - as everywhere in the API
    dtype: DType = "float32",
    l2: bool = False,
    pca: int | None = None,
    random_projection: int | None = None,
    sample: int | None = None,
    shard: tuple[int, int] = (1, 1),
    shard_size: int | None = None,
    retry_failed: bool = False,
    runner: Runner = "local",
    size: tuple[int, int] | None = None,
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
    """Write features of many images to a data set, or finish one; export the model first if it is missing.

    Args:
        inputs: Folders with all images below, patterns, lists of paths (``.txt``), ``.tar`` archives, Parquet and HDF5
            files, or images; each of them a path or an address such as ``s3://bucket/photos``. Or a
            ``ray.data.Dataset`` with a column of paths or addresses: then the work is spread by Ray.
        layer: As in :func:`extract_many`.
        activation: As in :func:`extract_many`.
        output: The data set: a folder, or an address.
        column: Column of images, or of their paths, in Parquet files; data set in HDF5 files; column of paths of a
            Ray Data set. None takes the only one (``path`` of Ray's).
        pool: How maps become vectors: ``mean``, ``max``, ``gem:p``, ``grid:N``, ``rmac:L`` or ``flatten``; or ``none``,
            which keeps maps. Several make a column each.
        format: Form of the files: ``parquet``, ``zarr``, ``hdf5``, ``npy`` or ``safetensors``.
        dtype: Number format of the values: ``float32``, ``float16`` or ``int8``.
        l2: Whether to divide each vector by its norm.
        pca: Values that each vector is shortened to, by a PCA of a sample; None leaves vectors as they are.
        random_projection: The same by a random projection, which needs no sample.
        sample: Most images that the PCA is fitted on, evenly chosen; None takes 4,096.
        shard: Which share of the shards to compute: number, from 1, and count of the jobs that share the work.
        shard_size: Images of a shard; None takes 1,024, or fewer where values take more than 64 MB.
        retry_failed: Whether to compute shards anew in which inputs failed.
        runner: What spreads the work: ``local``, or ``ray``, a cluster (see :mod:`fmedge.bulk.ray`).
        size: Height and width that the model is exported for; None takes the network's own.
        network: As in :func:`extract_many`; so are the following.
        weights: Weights of a stock network.
        keras: A Keras model.
        onnx: An ONNX network.
        preprocessing: What such a network needs done to pixels.
        models: Folder of the models.
        resize: How images are resized.
        run: Engine, device, and ``threads``: how many images are computed at once, one thread each.
        offline: Never access the internet for weights.
        progress: Receives the progress.

    Returns:
        What became of the inputs. Those that failed are in the manifest, with the reason.

    Raises:
        UsageError: An option is wrong, or the place holds something else.
        BackendUnavailable: A package or an engine is missing, or an address cannot be reached.
        FmedgeError: See :func:`extract_many`.
    """
    arrow()  # before anything is exported
    one_of("dtype", dtype, get_args(DType))
    require_switch("offline", offline)
    spread = find_runner(runner)
    pools, reduction = find_pools(pool), find_reduction(pca, random_projection, sample)
    require_form(format, pools, reduction, l2=l2)
    place = find_address("output", output)
    store = open_store(place)
    if hasattr(inputs, "select_columns"):
        from fmedge.bulk import ray

        spread, found = ray.extract_shards, named_inputs(ray.names_in(inputs, column or "path"))
    else:
        several = (inputs,) if isinstance(inputs, (str, os.PathLike)) else cast("Iterable[StrPath]", inputs)
        sources = [find_address("inputs", each) for each in several]
        require_apart(sources, place)
        found = find_inputs(sources, column)
    artifact = prepare_artifact(
        layer,
        activation,
        size=size,
        network=network,
        weights=weights,
        keras=keras,
        onnx=onnx,
        preprocessing=preprocessing,
        models=models,
        run=run,
        offline=offline,
    )
    resizing, run = find_resizing(resize), run or RunOptions()
    wish = Wish(artifact, pools, format, dtype, l2, reduction, resizing, run, shard_size)
    number, count = shard
    return spread(found, wish, store, share=(number - 1, count), retry_failed=retry_failed, progress=progress)


def find_runner(name: Runner) -> Callable[..., Summary]:
    """Return what computes shards.

    Raises:
        UsageError: There is no such runner.
    """
    if one_of("runner", name, get_args(Runner)) == "local":
        return extract_shards
    from fmedge.bulk import ray

    return ray.extract_shards
