"""``fmedge tune``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, logged_lines, print_json, print_table, say
from fmedge.cli.on_boards import On, names_of, raise_first, told
from fmedge.errors import FmedgeError, UsageError
from fmedge.model.submodel import Activation

if TYPE_CHECKING:
    from fmedge.bench.tune import Found
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
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            readable=False,
            metavar="MODEL",
            help="Try this model file; may be repeated, for other forms of the same layer. The choice is only printed.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="MAPS.npz",
            help="With --model: what results are held against: images (N, H, W, 3), and each tap's maps (N, C, H, W).",
        ),
    ] = None,
    on: On = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the fastest way to run a layer within an accuracy bound; fmedge run then uses it."""
    from fmedge.bench import report_formats, tune
    from fmedge.bench.matrix import BenchMatrix, request_form
    from fmedge.bench.protocol import Protocol
    from fmedge.bench.ways import Given, Goal
    from fmedge.boards.registry import LOCAL
    from fmedge.cli.tune_on_boards import Asked, tune_on
    from fmedge.data.image_list import expand_images
    from fmedge.data.images import require_image_file
    from fmedge.runtime.cores import bind_process
    from fmedge.system.files import create_folder, is_file, require_writable, write_bytes
    from fmedge.system.topology import governor_set
    from fmedge.workflow.layer_names import split_list
    from fmedge.workflow.own_networks import read_own_network
    from fmedge.workflow.request import models_folder, tuned_path

    boards = [LOCAL] if on is None else names_of(on)
    if cpus is not None and LOCAL in boards:
        bind_process(options.parse_cpus(cpus))
    if (model is None) != (reference is None):
        raise UsageError("--model and --reference belong together. Give both, or leave both out.")
    if model and (on or any(each is not None for each in (network, weights, keras, onnx, calibration, photos, size))):
        raise UsageError("--model names files, which determine network, weights and form. Leave out those options.")
    given = Given(tuple(model), reference) if model and reference else None
    own = read_own_network(keras=keras, onnx=onnx)
    names = split_list(layer, own.names if own else ())
    several = len(names) > 1, len(boards) > 1
    for path, name, board in product(output or (), names, boards):
        report_formats.require_form(path)
        require_writable(_report_path(path, name, board, several))
    judges = photos or calibration
    judging = expand_images([judges]) if judges else []
    for path in judging:
        require_image_file(path)
    if reference is not None and not is_file(reference):
        raise UsageError(f"No file '{reference}'.", hint="It is an .npz archive.")
    goal = Goal(objective, min_snr, tuple(judging))
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
    places: dict[tuple[str, str], Path] = {}
    if given is None:
        requests = {name: request_form(matrix, name) for name in names}
        create_folder(models_folder(models))
        places = {(name, board): tuned_path(requests[name], _named(board)) for name in names for board in boards}
        require_writable(*places.values())
    protocol = Protocol(seconds=seconds, timeout_s=timeout, cool_down_c=cool_down)
    if LOCAL in boards:
        protocol = tune.require_sensor(goal, protocol, device)
    words = told(
        ("--min-snr", min_snr), ("--objective", objective), ("--threads", threads), ("--cpus", cpus),
        ("--device", device), ("--backend", backend), ("--batch", batch), ("--seconds", seconds),
        ("--governor", governor), ("--cool-down", cool_down), ("--timeout", timeout),
    )  # fmt: skip
    shown: list[Tuned] = []
    errors: dict[str, FmedgeError] = {}
    for name in names if given is None else [""]:
        one = replace(matrix, layers=(name,))
        found: dict[str, Found | FmedgeError] = {}
        if LOCAL in boards:
            with logged_lines(), governor_set(governor) if governor else nullcontext():
                found[LOCAL] = tune.tune(one, goal, protocol, given=given, progress=ProgressLine())
        if others := [board for board in boards if board != LOCAL]:
            found |= tune_on(others, Asked(one, goal, words))
        for board, each in found.items():
            if isinstance(each, FmedgeError):
                errors[f"{board}, {name}"] = each
                continue
            for place in output or ():
                content = report_formats.FORMS[place.suffix.lower()](each.report)
                write_bytes(_report_path(place, name, board, several), content.encode())
            if given is None:
                write_bytes(places[name, board], each.tuned.to_json().encode())
            shown.append(each.tuned)
            if not as_json:
                _show(each.tuned, places.get((name, board)), board)
    if as_json:
        print_json([tuned.to_dict() for tuned in shown])
    raise_first(errors)


def _named(board: str) -> str:
    """Return what a choice's file is named for: nothing for this machine."""
    from fmedge.boards.registry import LOCAL

    return "" if board == LOCAL else board


def _report_path(path: Path, layer: str, board: str, several: tuple[bool, bool]) -> Path:
    """Return where a report is written; its name tells the layer and the board where there are several of them."""
    names = [name for name, many in zip((layer, board), several, strict=True) if many]
    return path.with_name(".".join([path.stem, *names]) + path.suffix)


_ENERGY = ("J/image",)
"""The column that is shown where energy was measured."""


def _show(tuned: Tuned, path: Path | None, board: str) -> None:
    """Show a choice; path: where it is kept, board: where it was made."""
    choice = tuned.choice
    run = f"fmedge run --on {board}" if _named(board) else "fmedge run"
    if _named(board):
        emit(f"{board}:")
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
    taken = f"; {run} uses it by default"
    if not choice.exact:
        other = f", by default {tuned.exact.describe()}" if tuned.exact else ""
        taken = f"; {run} uses it with --tuned{other}"
    kept = taken if path else ""
    say(f"Chosen for its {tuned.objective}: {choice.describe()}, {choice.parity.snr_db:.0f} dB{kept}.")
    if path:
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
