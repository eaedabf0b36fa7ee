"""Reports made by hand: machines, engines and precisions with times of a plausible spread."""

from dataclasses import replace

import numpy as np

from fmedge.data.bench_report import Limit, Missing
from fmedge.data.energy import EnergyPerImage
from fmedge.data.telemetry import Telemetry
from fmedge.model.parity import GATES, Parity
from fmedge.system.machine import Clocks
from support.measurements import MACHINE, measurement, report
from support.page_samples import HOSTILE

PI = replace(MACHINE, processor="Raspberry Pi 5 Model B", architecture="aarch64", flags=("asimd", "asimddp"), cores=4)
DESK = replace(MACHINE, processor="A desktop processor with a name of some length, 16 cores", cores=16)

CHOICES = (
    ("onnxruntime", "fp32", "fp32", 1.0, 131.2),
    ("onnxruntime", "int8", "fp32", 0.45, 34.1),
    ("openvino", "fp32", "fp32", 0.83, 128.9),
    ("openvino", "fp32", "bf16", 0.5, 128.9),
    ("openvino", "int8", "fp32", 0.31, 33.7),
    ("ncnn", "fp32", "fp32", 0.85, 127.4),
    ("ncnn", "fp16", "fp32", 0.7, 71.5),
    ("litert", "fp32", "fp32", 1.4, 130.2),
    ("litert", "int8", "fp32", 0.6, 32.8),
)
"""Engine, precision, arithmetic, time over ONNX Runtime's, distance from the reference in dB."""

LAYERS = {"block1_conv1": (0.0018, 86_704_128), "block3_conv3": (0.041, 5_635_964_928)}
"""Seconds of ONNX Runtime's float32, and operations."""

STAGES = {"decode": 0.004, "resize": 0.001, "copy in": 0.0002, "compute": 0.02, "copy out": 0.001, "render": 0.03}


HOSTILE_NAMES = [*HOSTILE, "%{x} ${alert(1)} $x^2$ <br>", "half a pair: \ud800"]
"""Names in a report that want to be more than text; the last is none that JSON can hold as UTF-8."""


def drawn(seed, centre, runs=120, spread=0.02):
    """Turns of ten runs."""
    generator = np.random.default_rng(seed)
    seconds = centre * (1 + spread * generator.standard_exponential(runs))
    return tuple(tuple(map(float, turn)) for turn in seconds.reshape(-1, 10))


def parity(precision, snr_db):
    return Parity(10 ** (-snr_db / 20), snr_db, 0.999, GATES[precision])


def rich_report(machine=DESK, pace=1.0, *, stages=True, layers=tuple(LAYERS), threads=None):
    """Two layers, four engines, all precisions; one row is noisy, one failed, one was skipped."""
    found = []
    for layer in layers:
        centre, macs = LAYERS[layer]
        for seed, (backend, precision, math, factor, snr) in enumerate(CHOICES):
            made = measurement(
                layer=layer,
                backend=backend,
                turns=drawn(seed, centre * factor * pace, spread=0.4 if seed == 7 else 0.02),
                macs=macs,
                limit_s=0.55 * centre * pace,
                parity=parity(precision, snr),
                stages={name: (second * pace,) * 3 for name, second in STAGES.items()} if stages else {},
            )
            what = replace(made.configuration, precision=precision, math=math, threads=threads or machine.cores)
            found.append(replace(made, configuration=what))
    what = found[0].configuration
    missing = (
        Missing(replace(what, backend="ncnn", precision="int8"), "ncnn has no int8 here. Allowed: fp32, fp16"),
        Missing(replace(what, backend="litert", precision="fp16"), "the process ended by signal 9 (memory?)", 7),
    )
    clocks = (Clocks(("schedutil",) * 2, (1800.0, 2400.0)), Clocks(("schedutil",) * 2, (2400.0, 2400.0)))
    limits = (Limit(machine.cores, 2e11 / pace, 3e10 / pace),)
    return report(*found, machine=machine, missing=missing, clocks=clocks, limits=limits)


def watched(**fields):
    """What a board with every sensor tells in a minute: it gets hot, and is held back for two seconds."""
    times = tuple(map(float, range(61)))
    return Telemetry(
        power_sensor="ina3221 VDD_IN",
        covers="the whole module",
        rate_hz=20.0,
        idle_w=(4.1, 4.3),
        thermometer="cpu-thermal",
        signs=("cooling devices",),
        flags=("clock lowered to cool",),
        clusters="4 big cores (4-7, 2256 MHz), 4 little cores (0-3, 1800 MHz)",
        times_s=times,
        temperature_c=tuple(45 + 40 * (1 - 0.95**second) for second in times),
        clock_mhz=(2256.0,) * 61,
        throttled_s=(50.0, 51.0),
        power_times_s=times,
        power_w=(9.5,) * 61,
        **fields,
    )


def energetic_report(machine=PI, pace=8.0):
    """Every row has its energy but the last; the second was throttled."""
    made = rich_report(machine, pace, stages=False)
    rows = [
        replace(
            each,
            energy=EnergyPerImage(5.2 * each.p50, 9.4 * each.p50, 4.2, 0.08 * each.p50, "ina3221 VDD_IN", 20.0, 12),
            hottest_c=70.0 + place,
            throttled=(3, 4) if place == 1 else (),
        )
        for place, each in enumerate(made.measurements)
    ]
    rows[-1] = replace(rows[-1], energy=None, no_energy="ina3221 VDD_IN: too few samples within the turns")
    return replace(made, measurements=tuple(rows), telemetry=watched())


def several():
    """Three machines."""
    return {
        "pi": rich_report(PI, 8.0),
        "jetson": rich_report(replace(PI, processor="Jetson Orin Nano", cores=6), 4.0, stages=False),
        "desk": rich_report(),
    }


def poisoned_report(name):
    """A report of which every name from outside is this one, as a file can hold it."""
    made = measurement(
        layer=name, backend=name, engine_version=name, active_provider=name, placement=name, stages={name: (0.1,)}
    )
    what = replace(made.configuration, activation=name, weights=name, device=name, precision=name, math=name)
    machine = replace(DESK, processor=name, system=name, architecture=name, python=name, flags=(name,))
    gap = Missing(replace(what, threads=1), name, 7)
    energy = EnergyPerImage(0.4, 0.9, 4.2, 0.01, name, 20.0, 5)
    names = {"power_sensor": name, "covers": name, "no_power": name, "thermometer": name, "clusters": name}
    seen = Telemetry(
        **names, cooling=name, signs=(name,), limits=(name,), flags=(name,), times_s=(1.0,), temperature_c=(50.0,)
    )
    rows = (replace(made, configuration=what, energy=energy), replace(made, configuration=what, no_energy=name))
    return report(*rows, machine=machine, missing=(gap,), started=name, fmedge=name, telemetry=seen)
