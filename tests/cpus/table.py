"""Every engine on processors that are not here, by qemu's user mode: which works and how exactly, and which is refused.

    python tests/cpus/table.py MODELS WRAPPERS [CPU ...]

MODELS is a folder to write to; the models are exported here, natively. WRAPPERS gets, for each x86-64 processor, a
virtual environment whose ``bin/python`` is a script that runs this Python under qemu, so that the processes that fmedge
starts are emulated, too; it forgets OPENBLAS_CORETYPE, which is for the processor underneath. Arm's is that of
``make test-arm64``, in ``.arm64``.

Each row is a real command: ``fmedge verify MODEL --backend ENGINE``, a run on a GPU, or an export. The end is 1 where
one died by a signal, ended otherwise than with 0 or 5, or wrote another int8 file than this processor.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TEST_DATA = Path(os.environ.get("FMEDGE_TEST_DATA") or ROOT.parent / "shared")

X86 = ("Nehalem", "Westmere", "Haswell", "Skylake-Server")
ARM = ("cortex-a53", "cortex-a72", "cortex-a76")

LAYER = "block3_conv3"
SIZE = "48x64"
SECONDS = 900

WAYS = {
    "onnxruntime fp32": ("onnxruntime", "onnx", "fp32", ()),
    "onnxruntime int8": ("onnxruntime", "onnx", "int8", ()),
    "onnxruntime int8, 7 bits": ("onnxruntime", "onnx", "int8", ("--seven-bit",)),
    "openvino fp32": ("openvino", "onnx", "fp32", ()),
    "openvino int8": ("openvino", "onnx", "int8", ()),
    "ncnn fp32": ("ncnn", "ncnn", "fp32", ()),
    "litert fp32": ("litert", "tflite", "fp32", ()),
    "litert int8": ("litert", "tflite", "int8", ()),
}
"""Engine, format, precision and flags of the export."""


class Seen(NamedTuple):
    """The end of a command."""

    code: int
    said: str

    @property
    def right(self) -> bool:
        """Whether it ended as a command may: done, or refused in a line."""
        return self.code in (0, 5)


def main() -> int:
    """Export, run on every processor, print the table."""
    models, wrappers, *names = sys.argv[1:]
    files = dict(_export(Path(models)))
    wrong = 0
    print(f"{'processor':16}{'':26}result", flush=True)
    for name in names or (*X86, *ARM):
        python = _wrapper(name, Path(wrappers))
        for what, seen in _run(name, python, files, Path(models)):
            wrong += not seen.right
            print(f"{name:16}{what:26}{seen.said}{'' if seen.right else '   WRONG'}", flush=True)
    return int(bool(wrong))


def _weights() -> list[str]:
    real = TEST_DATA / "vgg16" / "vgg16_blocks123_notop.h5"
    return ["--weights", str(real) if real.is_file() else "untrained"]


def _fmedge(python: str, words: list[str], settings: Mapping[str, str] | None = None) -> Seen:
    ran = subprocess.run(
        [python, "-m", "fmedge", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(settings or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = [line for line in (*ran.stdout.splitlines(), *ran.stderr.splitlines()) if line.strip()]
    if ran.returncode == 0:
        return Seen(0, ran.stdout)
    return Seen(ran.returncode, f"exit {ran.returncode}: {lines[-1] if lines else 'no word'}")


def _export(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every model of the table, made by this processor."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for photo in sorted((TEST_DATA / "photos").glob("*.*g"))[:16]:
        shutil.copy(photo, photos)
    if not any(photos.iterdir()):
        _draw(photos)
    for what, (_, form, precision, flags) in WAYS.items():
        words = [
            "export",
            "--layer",
            LAYER,
            "--size",
            SIZE,
            "--format",
            form,
            "--precision",
            precision,
            *flags,
            "--json",
        ]
        words += [*_weights(), "--models", str(folder), "--calibration", str(photos)]
        made = _fmedge(sys.executable, words)
        if made.code:
            raise SystemExit(f"{what}: {made.said}")
        yield what, Path(made.said.splitlines()[0])


def _draw(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(16):
        small = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((256, 192)).save(folder / f"{number}.png")


def _wrapper(name: str, folder: Path) -> str:
    """A Python that runs on that processor."""
    if name in ARM:
        return str(ROOT / ".arm64" / "venv" / "bin" / "python")
    qemu = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if qemu is None:
        raise SystemExit("qemu-x86_64 is missing. Install it: apt-get install qemu-user-static")
    here, place = Path(sys.prefix), folder.resolve() / name
    (place / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(here / "pyvenv.cfg", place)
    if not (place / "lib").exists():
        (place / "lib").symlink_to(here / "lib")
    python = place / "bin" / "python"
    base = Path(sys.executable).resolve()
    told = subprocess.run([qemu, "-cpu", name, base, "-V"], capture_output=True, text=True, check=True).stderr
    cpu = ",".join(
        (name, *(f"-{feature}" for feature in re.findall(r"\.([\w-]+) \[bit", told)))
    )  # or it warns each time
    python.write_text(f'#!/bin/sh\nexec "{qemu}" -cpu {cpu} -U OPENBLAS_CORETYPE -0 "{python}" "{base}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def _run(name: str, python: str, files: Mapping[str, Path], models: Path) -> Iterator[tuple[str, Seen]]:
    settings = {"ARM_CPU": name, "OMP_NUM_THREADS": "1"}

    def verify(what: str) -> tuple[str, Seen]:
        words = ["verify", str(files[what]), "--backend", WAYS[what][0], *_weights(), "--json"]
        seen = _fmedge(python, words, settings)
        if seen.code:
            return what, seen
        parity = json.loads(seen.said)["parity"]
        return what, Seen(0, f"works, {parity['snr_db']:.1f} dB (at least {parity['gate']['min_snr_db']:g})")

    with ThreadPoolExecutor(2) as beside:
        yield from beside.map(verify, [what for what in WAYS if name not in ARM or "openvino" not in what])
    yield "int8 exported there", _same_bytes(name, python, models, settings)
    photo, page = next((models / "photos").iterdir()), models / f"{name}.html"
    on_gpu = ["--model", str(files["litert int8"]), "--backend", "litert", "--device", "gpu", "--output", str(page)]
    drawn = _fmedge(python, ["run", str(photo), *on_gpu], settings)
    yield "litert on a GPU", Seen(0, "works") if not drawn.code else drawn
    words = ["--layer", "block1_conv1", "--weights", "untrained", "--size", "32", "--models", str(models / name)]
    direct = _fmedge(python, ["export", *words], settings)
    yield "export", Seen(0, "works") if not direct.code else direct
    if name not in ARM:  # the environment there has no TensorFlow
        converted = _fmedge(python, ["export", "--converter", "tf2onnx", *words], settings)
        yield "export by TensorFlow", Seen(0, "works") if not converted.code else converted


def _same_bytes(name: str, python: str, models: Path, settings: Mapping[str, str]) -> Seen:
    """Whether an int8 file that is planned and written on that processor is the one that is written here."""
    words = ["export", "--layer", "block1_conv2", "--size", "32", "--precision", "int8", "--weights", "untrained"]
    words += ["--calibration", str(models / "photos"), "--models"]
    here, there = models / "small", models / name / "small"
    for made in (_fmedge(sys.executable, [*words, str(here)]), _fmedge(python, [*words, str(there)], settings)):
        if made.code:
            return made
    (file,) = here.glob("*.onnx")
    same = file.read_bytes() == (there / file.name).read_bytes()
    return Seen(0, "the same bytes") if same else Seen(1, "other bytes")


if __name__ == "__main__":
    sys.exit(main())
