"""Compare fmedge with the tutorial program, from process start to the page.

Both read the same photo and the same complete weights file (seeded values in the official layout, unless
--weights names another). fmedge's artifact already exists, as it does after a first run. Each run is its own
process; the two take turns, so that a machine that drifts affects both alike.

    python benchmarks/end_to_end.py --image photo.jpg --layer block1_conv1,block5_conv3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from programs import Program, median_run, run_in_turns, times_as_fast
from weights_file import write_weights

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples"))


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a photo; default: the example picture")
    parser.add_argument("--layer", default="block1_conv1", help="one layer, or several separated by commas")
    parser.add_argument("--weights", type=Path, help="a complete Keras .h5 weights file")
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each, after one uncounted run")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = [_compare(layer, chosen, Path(name)) for layer in chosen.layer.split(",")]
    if chosen.output:
        chosen.output.write_text(json.dumps(results, indent=2) + "\n")


def _compare(layer: str, chosen: argparse.Namespace, folder: Path) -> dict[str, object]:
    image, weights = _inputs(chosen, folder)
    pages = {"tutorial": folder / "tutorial.html", "fmedge": folder / "fmedge.html"}
    programs = {
        "tutorial": Program(
            [sys.executable, HERE / "tutorial.py", image, layer, weights, pages["tutorial"]], pages["tutorial"]
        ),
        "fmedge": Program(
            [
                Path(sys.executable).with_name("fmedge"), "run", image, "--layer", layer, "--weights", weights,
                "--models", folder / "models", "--output", pages["fmedge"],
            ],
            pages["fmedge"],
        ),
    }  # fmt: skip
    runs = run_in_turns(programs, chosen.runs)
    for name, measured in runs.items():
        row = median_run(measured)
        memory, page = row.peak_bytes / 1e6, row.file_bytes / 1e6
        print(f"{layer:13} {name:9} {row.wall_s:6.2f} s {memory:7.0f} MB {page:6.2f} MB page")
    faster = times_as_fast(runs["fmedge"], runs["tutorial"])
    print(f"{layer:13} fmedge is {faster:.1f} times as fast (median of {chosen.runs} pairs)")
    return {
        "layer": layer,
        "faster": faster,
        "runs": {name: [vars(run) for run in rows] for name, rows in runs.items()},
    }


def _inputs(chosen: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    image, weights = chosen.image, chosen.weights
    if image is None:
        from draw_picture import draw

        image = folder / "example.png"
        draw().save(image)
    if weights is None:
        weights = folder / "seeded.h5"
        if not weights.exists():
            write_weights(weights)
    return image, weights


if __name__ == "__main__":
    main()
