"""Pages: run a model on images and write what was asked for of each."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from fmedge.data.feature_maps import FeatureMaps, Provenance
from fmedge.data.page_options import PageOptions
from fmedge.errors import FmedgeError
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Format, require_channel
from fmedge.runtime.backends import Wish
from fmedge.runtime.opening import load_engine_early
from fmedge.system.address_space import is_thrifty
from fmedge.system.files import create_folder, require_writable
from fmedge.workflow.batch import run_many
from fmedge.workflow.extraction import Decode, Resizing, Taps, deepest
from fmedge.workflow.output_paths import Outputs
from fmedge.workflow.outputs import first_kernels, write_outputs, write_page
from fmedge.workflow.pipeline import run_taps


def make_page(
    artifact: Artifact,
    image: Path,
    page: Path | None,
    *,
    channel: int | None = None,
    save_maps: Path | None = None,
    save_sheet: Path | None = None,
    options: PageOptions | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    decode: Decode | None = None,
) -> FeatureMaps:
    """Run a model on one photo and write the page of its deepest tap, and its maps and picture if requested.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        page: The HTML file to write; None writes none.
        channel: Draw this channel alone; None draws all.
        save_maps: The .npz file to write as well; None writes none.
        save_sheet: The .png file with all channels to write as well; None writes none.
        options: How the page is made; None means the defaults.
        resize: How the photo is resized for the model.
        run: Engine, device, threads; None means the defaults.
        decode: As in :func:`run_taps`.

    Returns:
        The maps that were drawn.

    Raises:
        UsageError: The layer has no such channel.
        WriteError: A file cannot be written.
        FmedgeError: See :func:`run_taps`.
    """
    if channel is not None:
        require_channel(artifact.card.submodel.deepest, artifact.card.channels, channel)
    outputs = Outputs(page, save_maps, save_sheet)
    require_writable(*outputs.paths)
    maps = deepest(run_taps(artifact, image, resize=resize, run=run, decode=decode))
    write_outputs(maps, outputs, channel, options, first_kernels(artifact))
    return maps


def make_layers_page(
    artifact: Artifact,
    image: Path,
    page: Path,
    beside: Mapping[str, Outputs],
    *,
    options: PageOptions | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
    decode: Decode | None = None,
) -> Taps:
    """Run a model on one photo and write one page with all its taps.

    Args:
        artifact: The model.
        image: JPEG, PNG, WebP or BMP.
        page: The HTML file to write.
        beside: The files to write for every tap in addition; missing folders are created.
        options: How the page is made; None means the defaults.
        resize: How the photo is resized for the model.
        run: Engine, device, threads; None means the defaults.
        decode: As in :func:`run_taps`.

    Returns:
        The maps that were drawn.

    Raises:
        WriteError: A file cannot be written.
        FmedgeError: See :func:`run_taps` and :func:`fmedge.render.render_page`.
    """
    require_writable(page)
    _make_places(path for each in beside.values() for path in each.paths)
    taps = run_taps(artifact, image, resize=resize, run=run, decode=decode)
    for tap, maps in taps.items():
        write_outputs(maps, beside[tap], None, options)
    write_page(page, list(taps.values()), None, options, first_kernels(artifact))
    return taps


def make_photos_page(
    artifact: Artifact,
    page: Path,
    beside: Mapping[Path, Mapping[str, Outputs]],
    *,
    channel: int | None = None,
    options: PageOptions | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
) -> dict[Path, dict[str, FeatureMaps]]:
    """Run a model on a few photos and write one page that shows them side by side.

    Args:
        artifact: The model.
        page: The HTML file to write.
        beside: The photos, in order, and the files to write for every tap in addition; missing folders are created.
        channel: Draw this channel alone; None draws all.
        options: How the page is made; None means the defaults.
        resize: How the photos are resized for the model.
        run: Engine, device, threads; None means the defaults.

    Returns:
        The maps that were drawn, per photo and tap.

    Raises:
        UsageError: A tap has no such channel, or the photos do not fit on one page.
        WriteError: A file cannot be written.
        FmedgeError: See :func:`run_many` and :func:`fmedge.render.render_page`.
    """
    _require_channel(artifact, channel)
    require_writable(page)
    _make_places(path for taps in beside.values() for each in taps.values() for path in each.paths)

    def write(image: Path, maps: FeatureMaps) -> FeatureMaps:
        write_outputs(maps, beside[image][maps.layer], channel, options)
        return maps

    found: dict[Path, dict[str, FeatureMaps]] = {}
    with closing(run_many(artifact, list(beside), write, resize=resize, run=run)) as results:
        for image, taps in results:
            if isinstance(taps, FmedgeError):
                raise taps
            found[image] = taps
    layers = [maps for taps in found.values() for maps in taps.values()]
    write_page(page, layers, channel, options, first_kernels(artifact))
    return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """The result for one image and tap.

    Attributes:
        layer: The tap.
        shape: Channels, rows, columns.
        outputs: The files that were written.
        provenance: How the maps were computed.
    """

    layer: str
    shape: tuple[int, ...]
    outputs: Outputs
    provenance: Provenance


def make_pages(
    artifact: Artifact,
    outputs: Mapping[Path, Mapping[str, Outputs]],
    *,
    channel: int | None = None,
    options: PageOptions | None = None,
    resize: Resizing = "nearest",
    run: RunOptions | None = None,
) -> Generator[tuple[Path, dict[str, Drawn] | FmedgeError]]:
    """Run a model on many photos and write a page for every tap; pages are drawn while the model runs.

    If the loop over the generator may end early, close it, as for :func:`run_many`, so that no file is left
    half-written.

    Args:
        artifact: The model.
        outputs: The files to write, per image and tap; missing folders are created.
        channel: Draw this channel alone; None draws all.
        options: How the pages are made; None means the defaults.
        resize: How the photos are resized for the model.
        run: Engine, device, threads; None means the defaults.

    Yields:
        Each image, in order, with the results for its taps, or with the error if the image is unusable.

    Raises:
        UsageError: A tap has no such channel.
        WriteError: A file cannot be written.
        FmedgeError: See :func:`run_many`.
    """
    _require_channel(artifact, channel)
    _make_places(path for taps in outputs.values() for each in taps.values() for path in each.paths)
    kernels = first_kernels(artifact)

    def write(image: Path, maps: FeatureMaps) -> Drawn:
        written = outputs[image][maps.layer]
        write_outputs(maps, written, channel, options, kernels)
        return Drawn(maps.layer, maps.maps.shape[1:], written, maps.provenance)

    with closing(run_many(artifact, list(outputs), write, resize=resize, run=run)) as results:
        yield from results


def _require_channel(artifact: Artifact, channel: int | None) -> None:
    for spec in artifact.card.outputs if channel is not None else ():
        require_channel(spec.name, spec.shape[spec.layout.index("C")] or 0, channel or 0)


def _make_places(paths: Iterable[Path]) -> None:
    wanted = list(paths)
    for folder in {path.parent for path in wanted}:
        create_folder(folder)
    require_writable(*wanted)


def load_early(run: RunOptions, model_format: Format | None, wish: Wish | None = None) -> None:
    """Begin to load the engine in a background thread; not where memory is short.

    Args:
        run: How the model will be run.
        model_format: Format of the model; None leaves it to the engine.
        wish: As in :func:`fmedge.runtime.opening.choose_backend`.
    """
    if not is_thrifty():
        Thread(target=load_engine_early, args=(run, model_format, wish), daemon=True).start()
