"""Measure what the sampler costs beside the turns: its share of a core and its memory, on recorded and on real sensors.

    python benchmarks/sampler_cost.py [--seconds 20] [--json FILE]

Recorded sensors are files in a temporary folder, as many and of the same form as those of a board. Tools are recorded,
too: what starting vcgencmd costs is not in these figures, but the sampler counts it and then reads less often.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fmedge.bench import sampler
from fmedge.bench.worker_pipe import Worker
from fmedge.system.sensors.host import Host
from support.recorded_boards import BOARDS

COLUMNS = ("machine", "sensor", "asked Hz", "got Hz", "% of a core", "MB")


def measure(name: str, host: Host, seconds: float) -> dict[str, object]:
    """Sample for a while, and return what it cost."""
    worker = Worker(sampler.MODULE)
    try:
        fields = {"root": str(host.root), "tools": host.tools, "nvml": host.nvml}
        told = worker.ask(60, do="begin", host=fields, power=True, device="cpu", cpus=[])
        time.sleep(seconds)
        found = worker.ask(60, do="take")
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
    finally:
        worker.stop()
    times = found["power_times_s"]
    memory = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return {
        "machine": name,
        "sensor": told["power_sensor"] or f"none: {told['no_power']}",
        "asked Hz": told["rate_hz"],
        "got Hz": round((len(times) - 1) / (times[-1] - times[0]), 2) if len(times) > 1 else 0,
        "% of a core": round(100 * found["load"], 3),
        "MB": round(int(memory) / 1e3, 1),
    }


def main() -> None:
    """Measure each machine and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measure("this machine", Host(), options.seconds)]
    with tempfile.TemporaryDirectory() as folder:
        for name, board in BOARDS.items():
            rows.append(measure(name, board.write(Path(folder) / name), options.seconds))
    print(" | ".join(COLUMNS))
    for row in rows:
        print(" | ".join(str(row[column]) for column in COLUMNS))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
