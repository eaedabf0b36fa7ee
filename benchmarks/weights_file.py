"""Write a complete weights file for measurements: the official layout with seeded random values."""

from __future__ import annotations

from pathlib import Path

import h5py

from fmedge.model.stock import STOCK, VGG16
from fmedge.model.weights import UNTRAINED, load_weights


def write_weights(path: Path) -> None:
    """Write seeded weights for all 13 convolutions in the layout of Keras' official file (59 MB)."""
    arrays, _ = load_weights(UNTRAINED, STOCK[VGG16].names[-1])
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in STOCK[VGG16].names]
        for name in STOCK[VGG16].names:
            group = file.create_group(name)
            names = [f"{name}_W_1:0", f"{name}_b_1:0"] if name in arrays else []
            group.attrs["weight_names"] = [entry.encode() for entry in names]
            for entry, values in zip(names, arrays.get(name, ()), strict=True):
                group.create_dataset(entry, data=values)
