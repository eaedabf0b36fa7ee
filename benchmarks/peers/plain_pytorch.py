"""PyTorch, channels last, with the Keras weights in torchvision's arrangement of VGG16."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np

from peers import Call

LAYERS = [
    f"block{block}_{part}"
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1)
    for part in (*(f"conv{number + 1}" for number in range(depth)), "pool")
]


def cut_vgg16(weights: Path, layer: str):  # noqa: ANN201 - a torch.nn.Sequential, not imported yet
    """Convolutions, ReLUs and pools up to a layer; it takes BGR minus the mean, NCHW."""
    import torch

    modules = OrderedDict()  # names, because pnnx writes them into a Python file
    with h5py.File(weights) as file:
        for name in LAYERS[: LAYERS.index(layer) + 1]:
            if name.endswith("pool"):
                modules[name] = torch.nn.MaxPool2d(2)
                continue
            kernel, bias = file[name][f"{name}_W_1:0"][:], file[name][f"{name}_b_1:0"][:]
            convolution = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
            convolution.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            convolution.bias.data = torch.from_numpy(bias)
            modules[name], modules[f"{name}_relu"] = convolution, torch.nn.ReLU(inplace=True)
    return torch.nn.Sequential(modules).eval()


def prepare(weights: Path, layer: str, folder: Path) -> None:
    """Do nothing: there is nothing to prepare."""


def load(weights: Path, layer: str, folder: Path, threads: int) -> Call:
    """Load the model with its weights and return the call."""
    import torch

    torch.set_num_threads(threads)
    model = cut_vgg16(weights, layer).to(memory_format=torch.channels_last)
    mean = torch.tensor([103.939, 116.779, 123.68])

    def call(photo: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            image = torch.from_numpy(photo).flip(-1).float() - mean
            return model(image.permute(0, 3, 1, 2)).contiguous().numpy()

    return call
