"""Find out what works here: try every engine and device with a small model, each in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import numpy as np

from fmedge.errors import FmedgeError
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.runtime.backends import BACKENDS, Backend
from fmedge.system import address_space, children
from fmedge.system.files import temporary_folder
from fmedge.system.machine import Machine, this_machine
from fmedge.system.processor import missing_features
from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Source
from fmedge.system.sensors.state import StateReader
from fmedge.system.sensors.table import find_power
from fmedge.system.stderr import own_process
from fmedge.system.topology import describe_clusters, find_clusters

_SECONDS = 120.0
"""Time limit for one engine on one device. A desktop takes 1 to 3 s; TensorRT plans for half a minute."""

_SIZE = (32, 32)
"""Image size of the test model: the smallest that the whole of VGG16 takes."""

_LAYER = "block1_conv2"
"""Layer of the test model: the first whose int8 sums are long enough to overflow on processors where they can."""

_PHOTOS = 16
"""Number of pictures that an int8 model is calibrated on."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The state of an engine on one device.

    Attributes:
        device: The device, as ``--device`` takes it.
        works: Whether the whole model ran there, with correct results.
        said: Where it ran and how accurately, or why it failed.
    """

    device: str
    works: bool
    said: str


@dataclass(frozen=True, slots=True)
class EngineState:
    """The state of an engine on this machine.

    Attributes:
        backend: Its name.
        distributions: Packages that provide it, with their versions; empty if it is not installed.
        install: The command that installs it.
        devices: Its devices; empty if it is not installed.
    """

    backend: str
    distributions: dict[str, str]
    install: str
    devices: tuple[DeviceState, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of an examination.

    Attributes:
        machine: The machine.
        engines: Every engine that fmedge knows.
        problems: What must be fixed and how, one line each.
        sensors: What the machine tells of its power, temperature, throttling and cores, or that it does not.
    """

    machine: Machine
    engines: tuple[EngineState, ...]
    problems: tuple[str, ...]
    sensors: dict[str, str]


def examine() -> Diagnosis:
    """Try every installed engine on each of its devices."""
    brought = packages_distributions()
    found = {row.name: sorted(set(brought.get(row.package, []))) for row in BACKENDS}
    tries = [(row, provider.device) for row in BACKENDS if row.installed for provider in row.providers]
    with ThreadPoolExecutor(2) as beside:  # the processes start slowly and compute little
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
    return Diagnosis(this_machine(), engines, tuple(_problems(engines)), describe_sensors())


def describe_sensors(host: Host | None = None) -> dict[str, str]:
    """Return in words what a machine, or this one, tells of itself while it computes: see docs/energy.md."""
    host = host or Host()
    search, state = find_power(host), StateReader(host)
    celsius = state.temperature_c()
    card = find_power(host, "gpu").source
    found = {
        "power": f"none: {search.reason}" if search.source is None else _describe_power(search.source),
        "power of the card": "" if card is None else _describe_power(card),
        "temperature": f"{state.thermometer}, {celsius:.0f} °C" if celsius is not None else "none",
        "throttling": ", ".join(state.signs) or "not told",
        "cores": describe_clusters(find_clusters(host)),
        "limits": "; ".join(state.limits),
    }
    return {name: words for name, words in found.items() if words}


def _describe_power(source: Source) -> str:
    return f"{source.name}, {source.covers}, up to {source.rate_hz:g} readings a second"


def _problems(engines: tuple[EngineState, ...]) -> Iterator[str]:
    for engine in engines:
        names = list(engine.distributions)
        if len(names) > 1:  # microsoft/onnxruntime#10685
            yield (
                f"{' and '.join(names)} overwrite each other's files. Keep one: pip uninstall -y {' '.join(names)}, "
                "then install it again."
            )
        for state in engine.devices:
            if state.device == "cpu" and not state.works:
                yield f"{engine.backend} does not work on the CPU: {state.said}"
    if missing := missing_features("TensorFlow"):
        yield (
            f"This processor lacks {', '.join(missing).upper()}: TensorFlow cannot export here (float TFLite, Keras). "
            "Make those models on another machine."
        )
    if not any(engine.distributions for engine in engines):
        special = {row.name for row in BACKENDS if row.special}
        general = next(engine for engine in engines if engine.backend not in special)
        yield f"No engine is installed. Install one: {general.install}."


def _try(row: Backend, device: str) -> DeviceState:
    """Try an engine on a device in a separate process, so that a crash there does not end this one."""
    try:
        with temporary_folder() as place:  # ours, so that it is removed however the process ends
            ran, answer = _ask([*children.module_command("fmedge.workflow.doctor"), row.name, device], place)
    except FmedgeError as error:
        return DeviceState(device, works=False, said=error.in_full())
    except subprocess.TimeoutExpired:
        return DeviceState(device, works=False, said=f"did not answer within {_SECONDS:g} s")
    lines = [line for line in answer.splitlines() if line.startswith("{")]
    if lines:  # a crash while the engine shuts down does not count
        return DeviceState(device, **json.loads(lines[-1]))
    if ran.returncode == -signal.SIGILL:
        return DeviceState(device, works=False, said="needs instructions that this processor does not have")
    ended = f"ended by signal {-ran.returncode}" if ran.returncode < 0 else f"ended with code {ran.returncode}"
    return DeviceState(device, works=False, said=f"the process {ended}")


def _ask(command: list[str], place: Path) -> tuple[subprocess.Popen[str], str]:
    """Run a command with its temporary files in a folder; return the ended process and its output."""
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place))
    environment = {**os.environ, **temporary, "PYTHONPATH": children.module_path()}
    with children.start(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            return process, process.communicate(timeout=_SECONDS)[0]
        finally:
            process.kill()


def probe(backend: str, device: str) -> dict[str, object]:
    """Export a small model and compare it with its reference on an engine and a device.

    Returns:
        ``works`` and ``said``, as in :class:`DeviceState`.
    """
    from fmedge.runtime.opening import open_session
    from fmedge.runtime.placement import describe_placement
    from fmedge.workflow.exports import export_submodel

    row = next(row for row in BACKENDS if row.name == backend)
    run = RunOptions(backend, device)
    agreements: list[str] = []
    seen = ""
    with temporary_folder() as place:
        pictures = _pictures(place / "pictures")
        for precision in _precisions(row.formats[0], device):
            try:
                artifact = export_submodel(
                    _LAYER,
                    weights="untrained",
                    models=place,
                    options=ExportOptions(row.formats[0], precision, size=_SIZE),
                    calibration=pictures if precision is Precision.INT8 else None,
                    run=run,
                )
                with open_session(artifact, run) as session:
                    seen = seen or describe_placement(session.placement, session.active_provider)
            except FmedgeError as error:
                return {"works": False, "said": f"{f'{precision}: ' if agreements else ''}{error.in_full()}"}
            except Exception as error:
                if not address_space.is_shortage(error):
                    raise
                return {"works": False, "said": address_space.shortage(error).in_full()}
            if artifact.card.parity:
                agreements.append(f"{precision} {artifact.card.parity.snr_db:.0f} dB")
    return {"works": True, "said": ", ".join((seen, *agreements))}


def _precisions(form: Format, device: str) -> tuple[Precision, ...]:
    """Return the precisions to try: those written without TensorFlow. int8 fails where its sums overflow."""
    if form is Format.TFLITE:
        return (Precision.INT8,)
    return (Precision.FP32, Precision.INT8) if form is Format.ONNX and device == "cpu" else (Precision.FP32,)


def _pictures(folder: Path) -> Path:
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(_PHOTOS):
        pixels = generator.integers(0, 256, (*_SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


if __name__ == "__main__":
    address_space.begin()
    with own_process():
        print(json.dumps(probe(*sys.argv[1:])))  # noqa: T201 - the answer to the process that asked
