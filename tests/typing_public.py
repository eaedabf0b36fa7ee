"""The types of the public face, as pyright sees them from a program of somebody else's; nothing here is run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from PIL import Image

import fmedge
from fmedge.exceptions import FmedgeError, UsageError

Pixels = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float32]


def images_of_all_kinds(path: PathLike[str], image: Image.Image, pixels: Pixels) -> None:
    """One photo, whatever it is."""
    assert_type(fmedge.extract("photo.jpg"), fmedge.FeatureMaps)
    assert_type(fmedge.extract(path, ["block1_conv1", "block1_conv2"], models=path), fmedge.FeatureMaps)
    assert_type(fmedge.extract(b"", ("block1_conv1",), "none", weights=path), fmedge.FeatureMaps)
    assert_type(fmedge.extract(image, "all", resize="bicubic"), fmedge.FeatureMaps)
    assert_type(fmedge.extract(pixels, run=fmedge.RunOptions(threads=1)), fmedge.FeatureMaps)
    assert_type(fmedge.extract(path, "conv", onnx=path, preprocessing="torch"), fmedge.FeatureMaps)
    fmedge.extract(3)  # pyright: ignore[reportArgumentType]
    fmedge.extract("photo.jpg", resize="lanczos")  # pyright: ignore[reportArgumentType]


def several(path: Path, pixels: Pixels) -> None:
    """Paths come back as such; other kinds as they were given."""
    assert_type(fmedge.extract_many("photos"), Iterator[tuple[Path, dict[str, fmedge.FeatureMaps]]])
    assert_type(fmedge.extract_many([path, "a.jpg"]), Iterator[tuple[Path, dict[str, fmedge.FeatureMaps]]])
    for source, taps in fmedge.extract_many([pixels, b"", path], on_error=lambda source, error: None):
        assert_type(source, Path | bytes | Image.Image | Pixels)
        assert_type(taps["block1_conv1"], fmedge.FeatureMaps)


def feature_maps(maps: fmedge.FeatureMaps, path: PathLike[str]) -> None:
    """An array, a file, a page."""
    assert_type(maps.maps, Maps)
    assert_type(maps.pixels, Pixels)
    assert_type(maps.shape, tuple[int, ...])
    assert_type(maps.channel(0), Maps)
    assert_type(fmedge.FeatureMaps.load(path), fmedge.FeatureMaps)
    assert_type(maps.save("maps.npz"), None)
    assert_type(maps.to_xarray(), Any)
    assert_type(fmedge.render_page(maps, channel=1), bytes)
    assert_type(fmedge.render_page([maps], options=fmedge.PageOptions(values="float16")), bytes)
    assert_type(fmedge.render_sheet(maps), bytes)
    assert_type(fmedge.embed(maps, height=500, options=fmedge.PageOptions(both=True)), str)
    assert_type(fmedge.embed([maps], channel=1), str)
    fmedge.embed(maps, 500)  # pyright: ignore[reportCallIssue]


def models(path: PathLike[str], images: Pixels) -> None:
    """Export, read, run."""
    artifact = fmedge.export_submodel(["block1_conv1"], models=path, calibration=path)
    assert_type(artifact, fmedge.Artifact)
    assert_type(fmedge.read_artifact("model.onnx"), fmedge.Artifact)
    assert_type(fmedge.export_submodel("layer1.0.conv1", onnx="model.onnx"), fmedge.Artifact)
    assert_type([row.name for row in fmedge.list_layers(keras="model.keras", size=(96, 96))], list[str])
    assert_type(artifact.card, fmedge.ModelCard)
    with fmedge.open_session(artifact, fmedge.RunOptions(backend="ncnn", cpus=(0, 1))) as session:
        assert_type(session, fmedge.Session)
        assert_type(session.run(images), dict[str, Maps])
        assert_type(session.placement, Mapping[str, Mapping[str, int]])


def errors(error: FmedgeError) -> None:
    """What an error tells."""
    assert_type(error.hint, str)
    assert_type(error.exit_code, int)
    assert_type(UsageError("a", hint="b"), UsageError)
