"""A folder for machines without Python: a model, the sources of the kernels' library, and what its example prints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.system.folders import RECORD

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Maps = npt.NDArray[np.float32]

LIBRARY = "fmedge_chain"
"""The folder, in that folder, with the library's sources."""

EXPECTED = "expected.txt"

_SUFFIX = ".runtime"

_TEMPLATES = Path(__file__).parent / "templates"
"""Files of the folder, with names in ``@`` for what is filled in."""

_IMAGENET = "\nThe weights are those of the VGG group, Oxford (CC BY 4.0), as Keras publishes them."

_COLOURS = 3


def folder_path(model: Path) -> Path:
    """Return the path of a model's folder: ``block1_conv1.relu.fp32.runtime`` beside the model file."""
    return model.with_suffix(_SUFFIX)


def made_up_image(card: ModelCard) -> Pixels:
    """Return the image that the example makes up, as often as the model takes it: (N, H, W, C), 0 to 255."""
    count, height, width, _ = card.image_shape()
    channels = card.inputs[0].shape[-1] or _COLOURS
    place = np.arange(height * width * channels, dtype=np.uint64)
    image = (place * place // 7 + place).astype(np.uint8).reshape(height, width, channels)
    return np.repeat(image[None], count, axis=0).astype(card.inputs[0].dtype)


def expected_lines(card: ModelCard, maps: Mapping[str, Maps], kernels: str) -> str:
    """Return what the example prints.

    Args:
        card: The model's card.
        maps: The taps of :func:`made_up_image`, (N, C, H, W).
        kernels: The name of the kernels that computed them.
    """
    lines: list[str] = []
    for place, spec in enumerate(card.outputs):
        tap = maps[spec.name][0]
        lines.append(f"tap {place}: {_describe(tap)}, {kernels} bits {_hash(tap):016x}\n")
    return "".join(lines)


def _describe(tap: Maps) -> str:
    shape = " x ".join(map(str, tap.shape))
    return f"{shape}, mean {tap.mean(dtype=np.float64):.4g}, greatest {tap.max(initial=0):.4g}"


def _hash(tap: Maps) -> int:
    """Return the sum of the values' bits, each times its place, counted from 1, modulo 2 to the power 64."""
    total, first = 0, 1
    for channel in np.ascontiguousarray(tap).view(np.uint32):
        places = np.arange(first, first + channel.size, dtype=np.uint64)
        total += int(np.dot(places, channel.ravel().astype(np.uint64)))
        first += channel.size
    return total % 2**64


def folder_contents(artifact: Artifact, expected: str, kernels: str, sources: Path) -> dict[str, bytes]:
    """Return the folder's files, content by path below it.

    Args:
        artifact: The model.
        expected: As from :func:`expected_lines`.
        kernels: The name of the kernels that this was computed with.
        sources: The folder of the library's sources, with the example.

    Raises:
        OSError: They cannot be read.
    """
    card, name = artifact.card, artifact.path.name
    _, height, width, _ = card.image_shape()
    words = {"library": LIBRARY, "expected": EXPECTED, "height": height, "width": width}
    readme = _fill(
        "README.txt",
        **words,
        model=name,
        line="=" * len(name),
        file=shlex.quote(name),
        taps=", ".join(card.submodel.taps),
        activation=card.describe_activation(),
        weights=card.describe_weights(),
        kernels=kernels,
        order=", each pixel red, green, blue" if card.inputs[0].shape[-1] == _COLOURS else "",
        record=RECORD,
        licence=_IMAGENET if card.weights.kind == "imagenet" else "",
    )
    library = {
        f"{LIBRARY}/{path.relative_to(sources).as_posix()}": path.read_bytes()
        for path in sorted(sources.rglob("*"))
        if path.is_file()
    }
    return {
        "README.txt": readme,
        "CMakeLists.txt": _fill("CMakeLists.txt", **words, model=_in_cmake(name)),
        name: artifact.model,
        EXPECTED: expected.encode(),
        **library,
    }


def _fill(template: str, **words: object) -> bytes:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return re.sub("@([a-z]+)@", lambda found: str(words[found[1]]), text).encode()


def _in_cmake(text: str) -> str:
    """Return a text as it stands in CMake's quotation marks."""
    for letter in '\\"$;':
        text = text.replace(letter, f"\\{letter}")
    return text
