"""``fmedge tune``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, logged_lines, print_json, print_table, say
from fmedge.model.submodel import Activation

if TYPE_CHECKING:
    from fmedge.workflow.tuned_choice import Candidate, Tuned


def tune_command(
    layer: options.LayerList = "block1_conv1",
    min_snr: Annotated[
        float, typer.Option(min=0, max=100, metavar="DB", help="Minimum SNR against the reference; 100: exact.")
    ] = 100.0,
    objective: Annotated[
        Literal["latency", "throughput", "memory", "size", "first", "energy"],
        typer.Option(
            help="What to optimise; first: time from opening the model to its first result; energy: J per image."
        ),
    ] = "latency",
    photos: Annotated[
        Path | None,
        typer.Option(
            readable=False, metavar="DIR", help="Photos to judge accuracy on. [default: those of --calibration]"
        ),
    ] = None,
    calibration: options.Calibration = None,
    backend: options.BackendList = None,
    threads: options.ThreadsList = None,
    cpus: options.Cpus = None,
    device: options.Device = "cpu",
    activation: options.ActivationChoice = Activation.RELU,
    size: options.FixedSize = None,
    batch: Annotated[int, typer.Option(min=2, help="With throughput: images per run.")] = 16,
    seconds: Annotated[float, typer.Option(min=0, max=3600, help="Seconds per candidate in the last round.")] = 2.0,
    governor: options.Governor = None,
    cool_down: options.CoolDown = None,
    timeout: options.StepTimeout = 300.0,
    output: options.ReportFiles = None,
    network: options.Network = None,
    weights: options.Weights = None,
    keras: options.Keras = None,
    onnx: options.Onnx = None,
    preprocessing: options.Preprocessing = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    std: options.Std = None,
    order: options.Order = None,
    models: options.Models = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Find the fastest way to run a layer here within an accuracy bound; fmedge run then uses it."""
    from fmedge.bench import report_formats, tune
    from fmedge.bench.matrix import BenchMatrix, request_form
    from fmedge.bench.protocol import Protocol
    from fmedge.data.image_list import expand_images
    from fmedge.data.images import require_image_file
    from fmedge.runtime.cores import bind_process
    from fmedge.system.files import create_folder, require_writable, write_bytes
    from fmedge.system.topology import governor_set
    from fmedge.workflow.layer_names import split_list
    from fmedge.workflow.own_networks import read_own_network
    from fmedge.workflow.request import models_folder, tuned_path

    if cpus is not None:
        bind_process(options.parse_cpus(cpus))
    own = read_own_network(keras=keras, onnx=onnx)
    names = split_list(layer, own.names if own else ())
    for path in output or ():
        report_formats.require_form(path)
        require_writable(*(_per_layer(path, name, several=len(names) > 1) for name in names))
    judges = photos or calibration
    judging = expand_images([judges]) if judges else []
    for path in judging:
        require_image_file(path)
    goal = tune.Goal(objective, min_snr, tuple(judging))
    matrix = BenchMatrix(
        backends=None if backend is None else tuple(options.split(backend)),
        threads=None if threads is None else options.parse_threads(threads),
        activation=activation,
        size=options.parse_fixed_size(size),
        scenario="offline" if objective == "throughput" else "single-stream",
        batch=batch if objective == "throughput" else 1,
        device=device,
        network=network,
        weights=weights,
        keras=keras,
        onnx=onnx,
        preprocessing=options.parse_preprocessing(preprocessing, scale, mean, std, order),
        models=models,
        calibration=calibration,
        offline=offline,
    )
    paths = {name: tuned_path(request_form(matrix, name)) for name in names}
    create_folder(models_folder(models))
    require_writable(*paths.values())
    protocol = tune.require_sensor(goal, Protocol(seconds=seconds, timeout_s=timeout, cool_down_c=cool_down), device)
    found: list[Tuned] = []
    for name, path in paths.items():
        with logged_lines(), governor_set(governor) if governor else nullcontext():
            tuned, report = tune.tune(replace(matrix, layers=(name,)), goal, protocol, progress=ProgressLine())
        write_bytes(path, tuned.to_json().encode())
        for place in output or ():
            write_bytes(
                _per_layer(place, name, several=len(names) > 1),
                report_formats.FORMS[place.suffix.lower()](report).encode(),
            )
        found.append(tuned)
        if not as_json:
            _show(tuned, path)
    if as_json:
        print_json([tuned.to_dict() for tuned in found])


def _per_layer(path: Path, layer: str, *, several: bool) -> Path:
    return path.with_name(f"{path.stem}.{layer}{path.suffix}") if several else path


_ENERGY = ("J/image",)
"""The column that is shown where energy was measured."""


def _show(tuned: Tuned, path: Path) -> None:
    choice = tuned.choice
    energy = any(each.energy_j is not None for each in tuned.front)
    print_table(
        ("engine", "form", "threads", "p50 ms", "SNR dB", "first ms", "MB", "file MB", *_ENERGY * energy, ""),
        [_row(each, "chosen" if each == choice else "", energy=energy) for each in tuned.front],
        left=2,
    )
    for each in tuned.dropped:
        if each.exit_code:
            say(f"Failed: {each.what}: {each.reason}")
    say(f"Not chosen: {len(tuned.dropped)} others; the file gives the reason for each.")
    taken = "fmedge run uses it by default"
    if not choice.exact:
        other = f", by default {tuned.exact.describe()}" if tuned.exact else ""
        taken = f"fmedge run uses it with --tuned{other}"
    say(f"Chosen for its {tuned.objective}: {choice.describe()}, {choice.parity.snr_db:.0f} dB; {taken}.")
    emit(str(path))


def _row(each: Candidate, mark: str, *, energy: bool) -> list[str]:
    return [
        each.backend,
        each.form,
        str(each.threads),
        f"{1e3 * each.p50_s:.2f}",
        f"{each.parity.snr_db:.1f}",
        f"{1e3 * (each.load_s + each.first_run_s):.0f}",
        "-" if each.peak_memory_bytes is None else f"{each.peak_memory_bytes / 1e6:.0f}",
        f"{each.file_size / 1e6:.2f}",
        *(["-" if each.energy_j is None else f"{each.energy_j:.3g}"] * energy),
        mark,
    ]
