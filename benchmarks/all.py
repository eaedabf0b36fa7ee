"""Run all parts one after another and join their results into one file and one page.

    python benchmarks/all.py                       # 12 minutes, on a machine that does nothing else
    python benchmarks/all.py --quick               # a few minutes: fewer layers, points and turns
    python benchmarks/all.py --part growth         # one part; the others keep their earlier results
    python benchmarks/all.py --join                # measure nothing; write the file and the page again

In benchmarks/results/ (or --results DIR) there is a file per part, `all.json` and `all.html`; the table of the
README.md is printed on stdout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fmedge import __version__
from fmedge.system.machine import this_machine
from page import render
from tables import readme_table

HERE = Path(__file__).parent
THREE = "block1_conv1,block3_conv3,block5_conv3"


@dataclass(frozen=True)
class Part:
    """A program in this folder that takes ``--output``, with its further arguments for a full and for a quick pass."""

    name: str
    program: str
    words: str
    quick: str


PARTS = (
    Part("inference", "inference.py", "", "--layer block1_conv1,block3_conv3 --rounds 1 --turns 5"),
    Part("end_to_end", "end_to_end.py", f"--layer {THREE} --runs 5", "--layer block1_conv1 --runs 2"),
    Part("export", "export_time.py", f"--layer {THREE} --runs 3", "--layer block1_conv1 --runs 1"),
    Part("growth", "growth.py", "", "--axis pixels,batch --layer block1_conv1 --turns 2"),
)


def main() -> None:
    """Run the requested parts, then join their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[part.name for part in PARTS], nargs="+", help="only these parts")
    parser.add_argument("--quick", action="store_true", help="a pass of a few minutes, for a first look")
    parser.add_argument("--join", action="store_true", help="measure nothing")
    parser.add_argument("--layer", help="layers for inference, separated by commas, or all")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the results")
    chosen = parser.parse_args()
    chosen.results.mkdir(parents=True, exist_ok=True)
    for part in PARTS if not chosen.join else ():
        if not chosen.part or part.name in chosen.part:
            _run(part, chosen)
    found = {
        part.name: json.loads(file.read_text())
        for part in PARTS
        if (file := chosen.results / f"{part.name}.json").is_file()
    }
    if not found:
        raise SystemExit(f"Nothing has been measured in {chosen.results} yet. Measure: python {__file__}")
    (chosen.results / "all.json").write_text(json.dumps(found, indent=1) + "\n")
    page = chosen.results / "all.html"
    page.write_bytes(render(found))
    if "inference" in found:
        print(readme_table(found["inference"]))
    print(page)


def _run(part: Part, chosen: argparse.Namespace) -> None:
    """Run a part and store its results with the time, the machine and the versions."""
    words = (part.quick if chosen.quick else part.words).split()
    if part.name == "inference" and chosen.layer:
        words += ["--layer", chosen.layer]
    output = chosen.results / f"{part.name}.rows.json"
    print(f"{part.name}: {part.program} {' '.join(words)}", file=sys.stderr, flush=True)
    started, start = datetime.now(UTC), time.perf_counter()
    subprocess.run([sys.executable, HERE / part.program, *words, "--output", output], check=True, stdout=sys.stderr)
    result: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - start, 1),
        "quick": chosen.quick,
        "fmedge": __version__,
        "machine": asdict(this_machine()),
        "rows": json.loads(output.read_text()),
    }
    output.unlink()
    (chosen.results / f"{part.name}.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
