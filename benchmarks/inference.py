"""Measure the time of one photo, for fmedge and for its peers, layer by layer.

Each takes a uint8 photo (1, 224, 224, 3) and returns a new float32 array (1, C, H, W), computes in float32 with the
same weights and the same number of threads, and has its own process. The processes take turns, and there are several
rounds of new processes. All results are compared with fmedge's float64 reference.

    python benchmarks/inference.py --layer block1_conv1,block3_conv3
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from fmedge.bench.worker_pipe import WorkerFailed
from fmedge.export.reference import reference_outputs
from fmedge.model.stock import STOCK, VGG16
from fmedge.model.submodel import SubModel
from fmedge.model.weights import choose_weights, load_weights
from fmedge.runtime.backends import usable_cpus
from fmedge_choice import own_engines
from peers import PEERS
from turns import pictures, take_turns, workers_at_hand
from weights_file import write_weights

LAYERS = "block1_conv1,block2_conv2,block3_conv3,block4_conv3,block5_conv3"

PAUSE_S = 0.05
"""Pause before each turn. By default, idle threads of some engines spin for some milliseconds."""

MODULE = "inference_worker"

LONGEST_S = 300
"""Longest time for one request, in seconds; converting through TensorFlow takes some seconds."""

Order = dict[str, Any]


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default=LAYERS, help="layers separated by commas, or all")
    parser.add_argument("--weights", type=Path, help="a complete Keras .h5 weights file; default: seeded values")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="CPU threads of each program")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of new processes")
    parser.add_argument("--turns", type=int, default=10, help="counted turns of each process")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    layers = STOCK[VGG16].names if chosen.layer == "all" else chosen.layer.split(",")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = chosen.weights or folder / "seeded.h5"
        if chosen.weights is None:
            write_weights(weights)
        for layer in layers:
            rows += _compare(layer, weights, folder, chosen)
    if chosen.output:
        chosen.output.write_text(json.dumps(rows, indent=1) + "\n")


def _compare(layer: str, weights: Path, folder: Path, chosen: argparse.Namespace) -> list[Order]:
    reference = folder / "reference.npy"
    _write_reference(layer, weights, reference)
    orders = _orders(layer, weights, folder, chosen.threads)
    rounds = [_round(orders, reference, chosen.turns) for _ in range(chosen.rounds)]
    rows = []
    for name, (backend, _) in orders.items():
        found = [each[name] for each in rounds if name in each]
        if not found:
            print(f"{layer:13} {name:24} failed: see peers/", flush=True)
            continue
        medians = [statistics.median(each["seconds"]) for each in found]
        row = {
            "layer": layer,
            "name": name,
            "engine": backend,
            "threads": chosen.threads,
            "median_s": statistics.median(medians),
            "medians_s": medians,
            "runs": sum(len(each["seconds"]) for each in found),
            "load_s": statistics.median(each["load_s"] for each in found),
            "peak_bytes": max(each["peak_bytes"] for each in found),
            "snr_db": min(each["snr_db"] for each in found),
        }
        print(
            f"{layer:13} {name:24} {1e3 * row['median_s']:8.2f} ms ({1e3 * min(medians):.2f} to "
            f"{1e3 * max(medians):.2f})  {row['peak_bytes'] / 1e6:6.0f} MB  {row['snr_db']:5.1f} dB",
            flush=True,
        )
        rows.append(row)
    return rows


def _orders(layer: str, weights: Path, folder: Path, threads: int) -> dict[str, tuple[str, Order]]:
    """Make the models, and return for each name its engine and the request that loads its model."""
    common = {"weights": str(weights), "layer": layer, "folder": str(folder)}
    found: dict[str, tuple[str, Order]] = {}
    for peer in PEERS:
        if not peer.installed:
            print(f"{layer:13} {peer.name:24} left out: it needs {', '.join(peer.packages)}", flush=True)
            continue
        if _succeeds(do="prepare", peer=peer.name, **common) is not None:
            found[peer.name] = (
                _engine(peer.packages[-1]),
                {"do": "load", "peer": peer.name, "threads": threads, **common},
            )
    for name, backend in own_engines().items():
        made = _succeeds(do="export", backend=backend, **{**common, "folder": str(folder / "models")})
        if made is not None:
            order = {"do": "load_fmedge", "layer": layer, "threads": threads, "backend": backend, **made}
            found[name] = _engine(backend), order
    return found


def _succeeds(**order: object) -> Order | None:
    """Return the answer of a new worker; if it fails, print the error and return None."""
    with workers_at_hand(MODULE) as start:
        try:
            return start().ask(LONGEST_S, **order)
        except WorkerFailed as error:
            print(f"{order}: {error}", flush=True)
            return None


def _round(orders: dict[str, tuple[str, Order]], reference: Path, turns: int) -> dict[str, Order]:
    """Start and load a process for each, one after the other; let them take turns; return their times and facts."""
    with workers_at_hand(MODULE) as start:
        workers, facts = {}, {}
        for name, (_, order) in orders.items():
            worker = start()
            facts[name] = worker.ask(LONGEST_S, **order)
            workers[name] = worker
        seconds = take_turns(workers, turns, pause_s=PAUSE_S)
        for name, worker in workers.items():
            facts[name] |= {"seconds": seconds[name], **worker.ask(LONGEST_S, do="end", reference=str(reference))}
        return facts


def _write_reference(layer: str, weights: Path, path: Path) -> None:
    """Compute the maps of the first image in float64, (C, H, W), and save them."""
    arrays, _ = load_weights(choose_weights(str(weights)), layer)
    np.save(path, reference_outputs(SubModel((layer,)), arrays, pictures()[0][0])[layer])


def _engine(package: str) -> str:
    """Return the name and the version of an engine."""
    name = {
        "ai_edge_litert": "ai-edge-litert",
        "litert": "ai-edge-litert",
        "tensorflow": "tensorflow-cpu",
        "native": "fmedge-native",
    }.get(package, package)
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


if __name__ == "__main__":
    main()
