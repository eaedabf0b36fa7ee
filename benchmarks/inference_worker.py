"""The process in which a peer or fmedge computes; it answers requests as fmedge's own worker does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from fmedge.bench.worker_pipe import serve
from fmedge.system.memory import peak_bytes
from peers import find_peer
from turns import TimedCall


class Inference:
    """The requests that this worker serves."""

    def prepare(self, peer: str, weights: str, layer: str, folder: str) -> dict[str, object]:
        """Make a peer's model file."""
        find_peer(peer).load_module().prepare(Path(weights), layer, Path(folder))
        return {}

    def load(self, peer: str, weights: str, layer: str, folder: str, threads: int) -> dict[str, object]:
        """Load a peer's model."""
        module = find_peer(peer).load_module()
        return self._load(lambda: module.load(Path(weights), layer, Path(folder), threads))

    def export(
        self, weights: str, layer: str, folder: str, backend: str, size: tuple[int, int] = (224, 224)
    ) -> dict[str, object]:
        """Make fmedge's model file for one of its engines; inference.py checks what it computes."""
        import fmedge
        from fmedge.runtime.backends import find_backend

        form = fmedge.ExportOptions(find_backend(backend).formats[0], size=(size[0], size[1]))
        artifact = fmedge.export_submodel(layer, weights=weights, models=folder, options=form, verify=False)
        return {"path": str(artifact.path)}

    def load_fmedge(
        self,
        path: str,
        layer: str,
        threads: int,
        backend: str,
        size: tuple[int, int] = (224, 224),
        batch: int = 1,
        factor: float | None = None,
    ) -> dict[str, object]:
        """Load fmedge's model. With a factor it takes float32 images: pixels times that factor."""
        import fmedge

        def load() -> Callable[[np.ndarray], np.ndarray]:
            options = fmedge.RunOptions(backend, threads=threads)
            session = fmedge.open_session(fmedge.read_artifact(Path(path)), options)
            return lambda images: session.run(images)[layer]

        loaded = self._load(load, batch, (size[0], size[1]))
        if factor is not None:
            self.timed.images = [image.astype(np.float32) * np.float32(factor) for image in self.timed.images]
        return loaded

    def _load(self, load: Callable[[], Any], batch: int = 1, size: tuple[int, int] = (224, 224)) -> dict[str, object]:
        start = time.perf_counter()
        self.timed = TimedCall(load(), batch, size)
        return {"load_s": time.perf_counter() - start}

    def turn(self, runs: int, seconds: float) -> dict[str, object]:
        """Run and time the model a few times."""
        return self.timed.turn(runs, seconds)

    def end(self, reference: str | None = None) -> dict[str, object]:
        """Return the peak memory, and the agreement of the first image's maps with a reference, in dB."""
        peak = peak_bytes()
        if reference is None:
            return {"peak_bytes": peak}
        expected = np.load(reference)[np.newaxis]
        maps = self.timed.call(self.timed.images[0])
        if maps.shape != expected.shape or maps.dtype != np.float32 or not maps.flags.c_contiguous:
            raise ValueError(f"maps are {maps.dtype} {maps.shape}; expected contiguous float32 {expected.shape}")
        noise = np.sum((maps - expected) ** 2)
        return {"peak_bytes": peak, "snr_db": 10 * float(np.log10(np.sum(expected**2) / noise))}


if __name__ == "__main__":
    worker = Inference()
    names = ("prepare", "load", "export", "load_fmedge", "turn", "end")
    serve({name: getattr(worker, name) for name in names})
