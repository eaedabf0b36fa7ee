"""Data sets of many images, tried: killed at random moments, timed against a bare loop, and their memory.

python benchmarks/bulk.py images FOLDER 100000     # small JPEGs of many kinds, one in a hundred broken
python benchmarks/bulk.py kills FOLDER --drivers 20 --workers 50
python benchmarks/bulk.py speed FOLDER block3_conv3 --size 224
python benchmarks/bulk.py memory FOLDER block1_conv1 --counts 1000,100000 --size 64
"""

from __future__ import annotations

import argparse
import filecmp
import io
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LAYER = [
    "--layer",
    "block1_conv1",
    "--size",
    "64",
    "--weights",
    "untrained",
    "--backend",
    "onnxruntime",
    "--pool",
    "mean",
]


def _broken(content: bytes, way: int, chance: random.Random) -> bytes:
    """Break a JPEG in one of twelve ways, none of which can be decoded."""
    middle = len(content) // 2
    return [
        b"",
        content[:2],
        content[:20],
        content[: chance.randrange(60, 200)],
        b"\0" * len(content),
        bytes(chance.randrange(256) for _ in range(300)),
        b"<html>404 Not Found</html>",
        content[1:],
        content[:2] + b"\xff\xd9" + content[2:],
        b"\x89PNG\r\n\x1a\n" + content[8:],
        content[:middle].replace(b"\xff\xc0", b"\xff\xff").replace(b"\xff\xc2", b"\xff\xff"),
        content.replace(b"\xff\xda", b"\x00\x00"),
    ][way]


def make_images(folder: Path, count: int) -> None:
    """Write small JPEGs of many kinds: sizes, grey, colour, CMYK, progressive, turned; one in a hundred is broken."""
    chance, generator = random.Random(1), np.random.default_rng(1)
    pool: list[bytes] = []
    for number in range(2000):
        height, width = (chance.randrange(16, 97) for _ in range(2))
        mode = chance.choice(["RGB", "RGB", "RGB", "L", "CMYK"])
        shape = (height, width) if mode == "L" else (height, width, len(mode))
        coarse = generator.integers(0, 256, (-(-height // 8), -(-width // 8), *shape[2:]), dtype=np.uint8)
        pixels = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
        options = {"quality": chance.randrange(30, 96), "progressive": chance.random() < 0.3}
        if chance.random() < 0.3:
            exif = Image.Exif()
            exif[0x0112] = chance.randrange(1, 9)
            options["exif"] = exif
        if mode == "RGB":
            options["subsampling"] = chance.choice([0, 1, 2])
        stream = io.BytesIO()
        Image.fromarray(pixels, mode).save(stream, "JPEG", **options)
        pool.append(stream.getvalue() + number.to_bytes(2))  # after its end: no two have the same bytes
    for number in range(count):
        place = folder / f"{number // 1000:04}" / f"{number:07}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        content = pool[number % len(pool)] + number.to_bytes(4)
        place.write_bytes(_broken(content, number // 100 % 12, chance) if number % 100 == 37 else content)


def _command(folder: Path, output: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "fmedge", "extract", str(folder), *LAYER, "--output", str(output), *words]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _run(command: list[str]) -> dict[str, float]:
    """Run a command to its end and return its seconds, CPU seconds and peak memory in MB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 9):
        raise SystemExit(errors.decode())
    seconds = time.monotonic() - started
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}


def kills(folder: Path, drivers: int, workers: int) -> None:
    """Kill single jobs and jobs of shares at random moments until all is done, and compare with an undisturbed run."""
    chance = random.Random(2)
    with tempfile.TemporaryDirectory() as place:
        whole, disturbed = Path(place, "whole"), Path(place, "disturbed")
        undisturbed = _run(_command(folder, whole))
        print("undisturbed:", json.dumps(undisturbed))
        done = 0
        for number in range(drivers):
            process = subprocess.Popen(
                _command(folder, disturbed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(3 + chance.random() * undisturbed["seconds"] / (drivers + workers / 2))
            process.send_signal(signal.SIGKILL)
            process.wait()
            done = len(list(disturbed.glob("manifest-*")))
            print(f"driver {number + 1} killed, {done} shards")
        killed = 0
        running: dict[int, subprocess.Popen[bytes]] = {}
        while killed < workers:
            for share in (1, 2, 3, 4):
                if share not in running or running[share].poll() is not None:
                    command = _command(folder, disturbed, "--shard", f"{share}/4", "--threads", "1")
                    running[share] = _start(command)
            time.sleep(2 + chance.random() * 4)
            victim = chance.choice([each for each in running.values() if each.poll() is None] or [*running.values()])
            victim.send_signal(signal.SIGKILL)
            killed += 1
        for process in running.values():
            process.kill()
            process.wait()
        print(f"{killed} workers killed, {len(list(disturbed.glob('manifest-*')))} shards")
        print("the rest:", json.dumps(_run(_command(folder, disturbed))))
        names = sorted(path.name for path in whole.iterdir())
        same = names == sorted(path.name for path in disturbed.iterdir() if not path.name.startswith("."))
        same &= filecmp.cmpfiles(whole, disturbed, names, shallow=False)[0] == names
        print("the same bytes:", same)
        subprocess.run([sys.executable, "-m", "fmedge", "dataset", "verify", str(disturbed)], check=True)
        subprocess.run([sys.executable, "-m", "fmedge", "dataset", "info", str(disturbed)], check=True)
        rows = sum(len(_manifest(path)) for path in disturbed.glob("manifest-*"))
        keys = {key for path in disturbed.glob("manifest-*") for key in _manifest(path)}
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
        print(f"{len(files)} inputs, {rows} rows, {len(keys)} keys; every input has its row: {files == keys}")


def _manifest(path: Path) -> list[str]:
    from pyarrow import parquet

    return parquet.read_table(path, columns=["key"])["key"].to_pylist()


_BARE = """
import sys, time
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image
model, size, *paths = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
(source,) = session.get_inputs()
kind = np.uint8 if "uint8" in source.type else np.float32
for path in Path(paths[0]).rglob("*.*"):
    image = Image.open(path).convert("RGB").resize((int(size), int(size)), Image.Resampling.NEAREST)
    maps = session.run(None, {source.name: np.asarray(image, kind)[None]})[0]
    if len(paths) > 1:
        vector = maps[0].mean(axis=(1, 2))
"""


def speed(folder: Path, layer: str, size: int, rounds: int, weights: str) -> None:
    """Compare with one process that decodes, runs a bare session on both cores, and pools, image after image."""
    with tempfile.TemporaryDirectory() as place:
        models = Path(place, "models")
        words = ["--layer", layer, "--size", str(size), "--weights", weights]
        command = [sys.executable, "-m", "fmedge", "export", *words, "--models", str(models)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (model,) = models.glob("*.onnx")
        count = sum(1 for path in folder.rglob("*.*") if path.is_file())
        found: dict[str, list[dict[str, float]]] = {"bare": [], "fmedge": []}
        for _ in range(rounds):
            found["bare"].append(_run([sys.executable, "-c", _BARE, str(model), str(size), str(folder), "pool"]))
            output = Path(place, "f")
            shutil.rmtree(output, ignore_errors=True)
            extract = [sys.executable, "-m", "fmedge", "extract", str(folder), "--model", str(model), "--pool", "mean"]
            found["fmedge"].append(_run([*extract, "--backend", "onnxruntime", "--output", str(output)]))
        for name, runs in found.items():
            told = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}
            print(layer, name, json.dumps({**told, "images per second": round(count / told["seconds"], 1)}))


def memory(folder: Path, layer: str, size: int, counts: list[int]) -> None:
    """Print the peak memory for several numbers of images."""
    paths = sorted(folder.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as place:
        for count in counts:
            names = Path(place, f"{count}.txt")
            names.write_text("".join(f"{path.absolute()}\n" for path in paths[:count]))
            words = ["--layer", layer, "--size", str(size), "--weights", "untrained", "--pool", "mean"]
            command = [sys.executable, "-m", "fmedge", "extract", str(names), *words, "--backend", "onnxruntime"]
            print(layer, count, json.dumps(_run([*command, "--output", str(Path(place, f"f{count}"))])))


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["images", "kills", "speed", "memory"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("value", nargs="?", default="block1_conv1")
    parser.add_argument("--drivers", type=int, default=20)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--weights", default="untrained")
    parser.add_argument("--counts", default="1000,10000")
    asked = parser.parse_args()
    if asked.what == "images":
        make_images(asked.folder, int(asked.value))
    elif asked.what == "kills":
        kills(asked.folder, asked.drivers, asked.workers)
    elif asked.what == "speed":
        speed(asked.folder, asked.value, asked.size, asked.rounds, asked.weights)
    else:
        memory(asked.folder, asked.value, asked.size, [int(count) for count in asked.counts.split(",")])


if __name__ == "__main__":
    main()
