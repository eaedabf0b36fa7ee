"""PyTorch to ncnn by pnnx, run by ncnn with its default options."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from peers import Call, model_file

MEAN_BGR = [103.939, 116.779, 123.68]


def prepare(weights: Path, layer: str, folder: Path) -> None:
    """Convert the model with float32 weights; by default pnnx would round them to float16."""
    import pnnx
    import torch

    from peers.plain_pytorch import cut_vgg16

    work = folder / f"{layer}.pnnx"
    work.mkdir(exist_ok=True)
    pnnx.export(
        cut_vgg16(weights, layer),
        str(work / "model.pt"),
        (torch.zeros(1, 3, 224, 224),),
        fp16=False,
        ncnnparam=str(model_file(folder, layer, ".param")),
        ncnnbin=str(model_file(folder, layer, ".bin")),
    )


def load(weights: Path, layer: str, folder: Path, threads: int) -> Call:
    """Load the model into a net and return the call."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.load_param(str(model_file(folder, layer, ".param")))
    net.load_model(str(model_file(folder, layer, ".bin")))

    def call(photo: np.ndarray) -> np.ndarray:
        height, width = photo.shape[1:3]
        image = ncnn.Mat.from_pixels(photo[0], ncnn.Mat.PixelType.PIXEL_RGB2BGR, width, height)
        image.substract_mean_normalize(MEAN_BGR, [])
        extractor = net.create_extractor()
        extractor.input("in0", image)
        _, maps = extractor.extract("out0")
        return np.array(maps)[np.newaxis]

    return call
