"""What people use for features of many images, to be timed beside ``fmedge extract``: in an environment with PyTorch.

    python benchmarks/bulk_peers.py loader FOLDER OUTPUT block3_conv3 224    # PyTorch's DataLoader (as timm's examples)
    python benchmarks/bulk_peers.py ray FOLDER OUTPUT block3_conv3 224       # a plain pipeline of Ray Data and PyTorch

VGG16 of torchvision with random weights, cut after the layer's ReLU; vectors are means over the maps.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

CUTS = {"block1_conv1": 2, "block2_conv2": 9, "block3_conv3": 16, "block4_conv3": 23, "block5_conv3": 30}
"""Modules of torchvision's ``vgg16().features`` up to a layer's ReLU."""


def _module(name: str) -> Any:  # noqa: ANN401
    return importlib.import_module(name)


def model_of(layer: str) -> Any:  # noqa: ANN401
    """Return the sub-model, for evaluation."""
    torchvision = _module("torchvision")

    return torchvision.models.vgg16(weights=None).features[: CUTS[layer]].eval()


def transform_of(size: int) -> Any:  # noqa: ANN401
    """Return torchvision's usual steps from an image to a tensor."""
    transforms = _module("torchvision.transforms")

    usual = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor(), usual])


class Photos:
    """A data set of PyTorch's: paths and tensors."""

    def __init__(self, folder: Path, size: int) -> None:
        self.paths, self.steps = sorted(folder.rglob("*.*")), transform_of(size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[str, Any]:
        from PIL import Image

        with Image.open(self.paths[number]) as image:
            return str(self.paths[number]), self.steps(image.convert("RGB"))


def loader(folder: Path, output: Path, layer: str, size: int) -> int:
    """Use DataLoader with a process per core, and the model on all cores."""
    np = _module("numpy")
    torch = _module("torch")
    DataLoader = _module("torch.utils.data").DataLoader  # noqa: N806

    model, names, vectors = model_of(layer), list[str](), list[Any]()
    with torch.inference_mode():
        for paths, batch in DataLoader(Photos(folder, size), batch_size=16, num_workers=os.cpu_count() or 1):
            vectors.append(model(batch).mean((2, 3)).numpy())
            names += paths
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "vectors.npy", np.concatenate(vectors))
    (output / "names.json").write_text(json.dumps(names))
    return len(names)


class Step:
    """A step of Ray Data: a batch of images to vectors."""

    def __init__(self, layer: str, size: int) -> None:
        torch = _module("torch")

        torch.set_num_threads(1)
        self.model, self.steps = model_of(layer), transform_of(size)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:  # noqa: D102
        torch = _module("torch")
        from PIL import Image

        images = torch.stack([self.steps(Image.fromarray(each)) for each in batch["image"]])
        with torch.inference_mode():
            return {"path": batch["path"], "vector": self.model(images).mean((2, 3)).numpy()}


def on_ray(folder: Path, output: Path, layer: str, size: int) -> int:
    """Use Ray Data with an actor per core."""
    ray = _module("ray")

    cores = os.cpu_count() or 1
    # twice the cores: with as many as there are, actors leave none to read with, and nothing is ever done
    ray.init("local", num_cpus=2 * cores, log_to_driver=False, include_dashboard=False)
    images = ray.data.read_images(str(folder), include_paths=True, mode="RGB")
    actors = ray.data.ActorPoolStrategy(size=cores)
    images.map_batches(Step, fn_constructor_args=(layer, size), batch_size=16, compute=actors).write_parquet(
        str(output)
    )
    return ray.data.read_parquet(str(output)).count()


def main() -> None:
    """Run one of them and print images per second, peak memory, and bytes on disk."""
    what, folder, output, layer, size = sys.argv[1:]
    started = time.monotonic()
    count = {"loader": loader, "ray": on_ray}[what](Path(folder).absolute(), Path(output).absolute(), layer, int(size))
    seconds = time.monotonic() - started
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    written = sum(path.stat().st_size for path in Path(output).rglob("*") if path.is_file())
    told = {"images": count, "seconds": round(seconds, 1), "images per second": round(count / seconds, 2)}
    print(what, json.dumps({**told, "peak MB": round(peak), "bytes": written}))


if __name__ == "__main__":
    main()
