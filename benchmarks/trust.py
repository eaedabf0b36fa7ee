"""Whether fmedge bench and compare are to be trusted: measured, on this machine.

- truth: the median of fmedge's worker against a hand-written loop over the bare engine, each in a process of its own,
  turn by turn. Wanted: within 3 %.
- alarms: reports of the same thing, one after the other, compared pair by pair. Wanted: at most 2 of 40 flagged, and at
  least 18 of 20 where one of the pair is made 10 % slower (its recorded times are scaled).

    python benchmarks/trust.py truth
    python benchmarks/trust.py alarms
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from turns import take_turns

from fmedge.bench.cases import Wishes, prepare_cases
from fmedge.bench.channel import Worker
from fmedge.bench.compare import Bound, compare_metric
from fmedge.bench.coordinator import Protocol, measure
from fmedge.measurement import Measurement
from fmedge.runtime.backends import usable_cpus

CONFIGURATIONS = (
    ("onnxruntime", "block1_conv1"),
    ("onnxruntime", "block3_conv3"),
    ("openvino", "block2_conv2"),
    ("ncnn", "block3_conv3"),
)
TURNS = 30
PLANTED = 1.10
BOUND = Bound("p50", 0.05)


def check_truth(models: Path | None, repeats: int, threads: int) -> list[dict[str, object]]:
    """Ratio of fmedge's median to the bare engine's, per configuration and pair of processes."""
    rows: list[dict[str, object]] = []
    for backend, layer in CONFIGURATIONS:
        wishes = Wishes((layer,), (backend,), threads=(threads,), weights="untrained", models=models)
        ((case,), _) = prepare_cases(wishes)
        ratios = []
        for _ in range(repeats):
            ours, bare = Worker("fmedge.bench.worker"), Worker("bare_engine")
            path = str(case.model.absolute())
            run = {"device": "cpu", "threads": threads, "math": "fp32"}
            ours.ask(300, do="load", path=path, backend=backend, run=run, batch=1, size=[224, 224], image=None)
            bare.ask(300, do="load", path=path, backend=backend, tap=layer, threads=threads)
            seconds = take_turns({"ours": ours, "bare": bare}, TURNS)
            ours.stop()
            bare.stop()
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            ratios.append(medians["ours"] / medians["bare"])
        middle = statistics.median(ratios)
        print(
            f"{backend:12} {layer:13} bare {1e3 * medians['bare']:7.2f} ms  fmedge / bare {middle:.3f}  "
            f"({min(ratios):.3f} to {max(ratios):.3f} in {repeats} pairs of processes)  "
            f"{'ok' if abs(middle - 1) <= 0.03 else 'MORE THAN 3 %'}",
            flush=True,
        )
        rows.append({"backend": backend, "layer": layer, "ratios": ratios})
    return rows


def check_alarms(models: Path | None, pairs: int, backend: str, layer: str) -> list[dict[str, object]]:
    """Verdicts on pairs of the same thing, and on the first half of them with a slowdown planted."""
    ((case,), _) = prepare_cases(Wishes((layer,), (backend,), weights="untrained", models=models))
    measured: list[Measurement] = []
    for number in range(pairs + 1):
        measured += measure([case], Protocol()).measurements
        print(f"\r{number + 1} of {pairs + 1} reports", end="", flush=True)
    rows = []
    for before, after in pairwise(measured):
        slower = replace(after, turns=tuple(tuple(PLANTED * run for run in turn) for turn in after.turns))
        same, planted = (compare_metric(before, each, "p50", usable_cpus()) for each in (after, slower))
        if same is not None and planted is not None:
            disturbed = before.disturbed or after.disturbed
            rows.append({"same": _row(same), "planted": _row(planted), "disturbed": disturbed})
    print(f"\r{sum(row['disturbed'] for row in rows)} of {len(rows)} pairs were disturbed by other work")
    half = rows[: pairs // 2]
    print(f"\rA/A, {backend} {layer}: " + " ".join(f"{100 * (row['same']['ratio'] - 1):+.1f}" for row in rows) + " %")
    print(f"flagged {sum(row['same']['verdict'] != 'same' for row in rows)} of {len(rows)}, wanted at most 2 of 40")
    print(f"beyond --fail-on p50:5%: {sum(row['same']['breaks'] for row in rows)} of {len(rows)}")
    seen = sum(row["planted"]["verdict"] == "slower" for row in half)
    print(f"planted 10 %: seen {seen} of {len(half)}, wanted 18 of 20")
    print(f"beyond --fail-on p50:5%: {sum(row['planted']['breaks'] for row in half)} of {len(half)}")
    return rows


def _row(change) -> dict[str, object]:  # noqa: ANN001
    interval = [change.low, change.high]
    return {"ratio": change.ratio, "interval": interval, "verdict": change.verdict, "breaks": change.breaks(BOUND)}


def main() -> None:
    """Run one of the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["truth", "alarms"])
    parser.add_argument("--models", type=Path, help="folder of the models")
    parser.add_argument("--repeats", type=int, default=5, help="truth: pairs of processes")
    parser.add_argument("--threads", type=int, default=2, help="truth: CPU threads")
    parser.add_argument("--pairs", type=int, default=40, help="alarms: pairs of reports")
    parser.add_argument("--backend", default="onnxruntime", help="alarms: the engine")
    parser.add_argument("--layer", default="block1_conv1", help="alarms: the layer")
    parser.add_argument("--json", type=Path, help="write the figures")
    chosen = parser.parse_args()
    if chosen.check == "truth":
        rows = check_truth(chosen.models, chosen.repeats, chosen.threads)
    else:
        rows = check_alarms(chosen.models, chosen.pairs, chosen.backend, chosen.layer)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
