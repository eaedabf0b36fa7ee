"""What works here: every engine and device is tried with a small model, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import numpy as np

from fmedge import floors
from fmedge.files import temporary_folder
from fmedge.machine import Machine, this_machine
from fmedge.run_options import RunOptions
from fmedge.runtime import BACKENDS, Backend
from fmedge.submodel import ExportOptions, Format, Precision

_SECONDS = 120.0
"""Longest time for one engine on one device. A desktop takes 1 to 3 s; TensorRT plans for half a minute."""

_SIZE = (32, 32)
"""Image of the model that is tried: the smallest that VGG16 takes as a whole."""

_PHOTOS = 16
"""Pictures that an int8 model, which LiteRT is tried with, is calibrated on."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """An engine on a device.

    Attributes:
        device: What ``--device`` takes.
        works: Whether the model ran there as a whole, and right.
        said: Where it ran and how exactly, or why it did not.
    """

    device: str
    works: bool
    said: str


@dataclass(frozen=True, slots=True)
class EngineState:
    """A row of the table of engines, as found here.

    Attributes:
        backend: Its name.
        distributions: Packages that bring it, with their versions; empty where it is not installed.
        install: The command that installs it.
        devices: Its devices; empty where it is not installed.
    """

    backend: str
    distributions: dict[str, str]
    install: str
    devices: tuple[DeviceState, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        machine: The machine.
        engines: Every engine of the table.
        problems: What has to be mended, a line each, with how.
    """

    machine: Machine
    engines: tuple[EngineState, ...]
    problems: tuple[str, ...]


def examine() -> Diagnosis:
    """Try every engine that is installed on every device it has."""
    brought = packages_distributions()
    found = {row.name: sorted(set(brought.get(row.package, []))) for row in BACKENDS}
    tries = [(row, provider.device) for row in BACKENDS if row.installed for provider in row.providers]
    with ThreadPoolExecutor(2) as beside:  # they start slowly and compute little
        states = list(beside.map(_try, *zip(*tries, strict=True))) if tries else []
    engines = tuple(
        EngineState(
            row.name,
            {name: version(name) for name in found[row.name]},
            row.install,
            tuple(state for (tried, _), state in zip(tries, states, strict=True) if tried is row),
        )
        for row in BACKENDS
    )
    return Diagnosis(this_machine(), engines, tuple(_problems(engines)))


def _problems(engines: tuple[EngineState, ...]) -> Iterator[str]:
    for engine in engines:
        names = list(engine.distributions)
        if len(names) > 1:  # microsoft/onnxruntime#10685
            yield (
                f"{' and '.join(names)} overwrite each other's files. Keep one: pip uninstall -y {' '.join(names)}, "
                "then install that one again."
            )
        for state in engine.devices:
            if state.device == "cpu" and not state.works:
                yield f"{engine.backend} does not work on the CPU: {state.said}"
    if not any(engine.distributions for engine in engines):
        yield f"No engine is installed. Install one: {engines[0].install}."


def _try(row: Backend, device: str) -> DeviceState:
    """Run an engine on a device in a process of its own: what crashes there does not end this one."""
    command = [sys.executable, "-P", "-m", "fmedge.doctor", row.name, device]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return DeviceState(device, works=False, said=f"did not answer within {_SECONDS:g} s")
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if lines:  # what happens while the engine is taken apart does not count
        return DeviceState(device, **json.loads(lines[-1]))
    ended = f"ended by signal {-ran.returncode}" if ran.returncode < 0 else f"ended with code {ran.returncode}"
    return DeviceState(device, works=False, said=f"the process {ended}")


def probe(backend: str, device: str) -> dict[str, object]:
    """Export a small model and hold it against its reference on an engine and a device.

    Returns:
        ``works``, and in words what was seen, as in :class:`DeviceState`.
    """
    from fmedge.errors import FmedgeError
    from fmedge.provision import export_submodel
    from fmedge.runtime import describe_placement, open_session

    row = next(row for row in BACKENDS if row.name == backend)
    run = RunOptions(backend, device)
    form = row.formats[0]
    with temporary_folder() as place:
        quantized = form is Format.TFLITE  # the form of it that is written without TensorFlow
        options = ExportOptions(form, Precision.INT8 if quantized else Precision.FP32, size=_SIZE)
        try:
            artifact = export_submodel(
                weights="untrained",
                models=place,
                options=options,
                calibration=_pictures(place / "pictures") if quantized else None,
                run=run,
            )
            with open_session(artifact, run) as session:
                seen = describe_placement(session.placement, session.active_provider)
        except FmedgeError as error:
            return {"works": False, "said": str(error)}
        except Exception as error:
            if not floors.is_shortage(error):
                raise
            return {"works": False, "said": str(floors.shortage(error))}
    agreement = f", {artifact.card.parity.snr_db:.0f} dB" if artifact.card.parity else ""
    return {"works": True, "said": f"{seen}{agreement}"}


def _pictures(folder: Path) -> Path:
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(_PHOTOS):
        pixels = generator.integers(0, 256, (*_SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


if __name__ == "__main__":
    floors.begin()
    print(json.dumps(probe(*sys.argv[1:])))  # noqa: T201 - the answer to the process that asked
