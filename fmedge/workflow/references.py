"""References in files: images, and the maps that a model has to compute of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmedge.errors import UsageError
from fmedge.model.parity import Gate, Parity, measure_parity
from fmedge.runtime.session import Session
from fmedge.system.files import write_error

IMAGES = "images"
"""Name of the images in a reference's file; its other arrays are named as taps."""


def judge(session: Session, reference: Path, gate: Gate, *, batch: int = 1) -> Parity:
    """Run the images of a reference one by one; return the agreement at the image and tap that agree least.

    Args:
        session: The model.
        reference: See :func:`save_reference`.
        gate: The gate that the result names.
        batch: Images that the model takes: each image is repeated as often.

    Raises:
        UsageError: The reference is none, or of another model.
    """
    parities: list[Parity] = []
    images, expected = _read_reference(reference)
    for index, image in enumerate(images):
        found = session.run(np.repeat(image[np.newaxis], batch, axis=0))
        for name, maps in expected.items():
            if name not in found or found[name].shape[1:] != maps.shape[1:]:
                raise UsageError(f"'{reference}' is not a reference of this model: '{name}' differs.")
            parities.append(measure_parity(found[name][0], maps[index], gate))
    return min(parities, key=lambda parity: parity.snr_db)


def save_reference(
    path: Path, images: npt.NDArray[np.generic], expected: Mapping[str, npt.NDArray[np.floating]]
) -> None:
    """Write what results are held against: ``images`` (N, H, W, 3), and for each tap its maps (N, C, H, W).

    Raises:
        WriteError: The file cannot be written.
    """
    with write_error(path):
        np.savez(path, allow_pickle=False, **{IMAGES: images, **expected})


def _read_reference(path: Path) -> tuple[npt.NDArray[np.generic], dict[str, npt.NDArray[np.floating]]]:
    """Read images and maps.

    Raises:
        UsageError: The file does not hold them.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            expected = {name: data[name] for name in data.files if name != IMAGES}
            images = data[IMAGES]
        fits = all(maps.ndim == 4 and len(maps) == len(images) and maps.dtype.kind == "f" for maps in expected.values())
        if not len(images) or not expected or not fits:
            raise ValueError("no maps")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"'{path}' is not a reference: an .npz archive of images and maps.") from error
    return images, expected
