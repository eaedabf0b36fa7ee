"""Measurements for tests that need no engine."""

from fmedge.data.bench_report import Limit, Report
from fmedge.data.measurement import Configuration, Measurement, Process
from fmedge.system.machine import Clocks, Machine

MACHINE = Machine("Linux 6", "x86_64", "Some CPU", 1 << 33, "3.12.1", ("avx2",), 2, (0, 1), 1 << 34)


TURNS = ((0.010, 0.0105, 0.010),) * 10


def measurement(
    *, layer="block1_conv1", backend="onnxruntime", batch=1, scenario="single-stream", turns=TURNS, **fields
):
    """Of one process where only its turns are given."""
    configuration = Configuration(
        layer=layer,
        activation="relu",
        weights="untrained weights",
        size=(224, 224),
        batch=batch,
        scenario=scenario,
        backend=backend,
        device="cpu",
        precision="fp32",
        math="fp32",
        threads=2,
    )
    facts = {
        "processes": (Process(turns),),
        "load_s": 0.1,
        "first_run_s": 0.02,
        "warm_up_runs": 10,
        "steady": True,
        "cpu_s": 0.6,
        "wall_s": 0.31,
        "others_s": 0.0,
        "peak_memory_bytes": 100_000_000,
        "macs": 86_700_000,
        "limit_s": 0.001,
        "file_size": 11_000,
        "file_sha256": "ab" * 32,
        "parity": None,
        "engine_version": "1.0",
        "active_provider": "CPUExecutionProvider",
        "placement": "1/1 Conv on CPUExecutionProvider",
    }
    return Measurement(configuration, **{**facts, **fields})


def report(*measurements, machine=MACHINE, **fields):
    facts = {
        "fmedge": "0.1.0",
        "started": "2026-11-22T18:00:00+00:00",
        "clocks": (Clocks(None, None), Clocks(("ondemand",) * 2, (2000.0,) * 2)),
        "runs": 30,
        "seconds": 2.0,
        "limits": (Limit(2, 2e11, 3e10),),
    }
    return Report(machine=machine, measurements=measurements, **{**facts, **fields})
