"""``fmedge bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from fmedge.cli import options
from fmedge.cli.console import ProgressLine, emit, logged_lines, print_json, print_table, say
from fmedge.cli.interrupts import obeyed
from fmedge.cli.on_boards import On, names_of, raise_first, report_path, told
from fmedge.errors import FmedgeError, UsageError, closest
from fmedge.model.run_options import Math
from fmedge.model.submodel import Activation, Precision

if TYPE_CHECKING:
    from fmedge.bench.matrix import BenchMatrix
    from fmedge.bench.protocol import Protocol
    from fmedge.data.bench_report import Report

_OFFLINE_BATCH = 16
"""Default number of images per run in the offline scenario."""


def bench_command(
    layer: options.LayerList = "block1_conv1",
    backend: options.BackendList = None,
    precision: options.PrecisionList = "fp32",
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="tap-float|seven-bit|seven-bit-tap-float[,...]",
            help="Other forms of int8 models, besides the plain one.",
        ),
    ] = None,
    math: Annotated[
        str, typer.Option("--math", metavar="fp32|bf16[,...]", help="Arithmetic of float models.")
    ] = "fp32",
    threads: options.ThreadsList = None,
    cpus: options.Cpus = None,
    device: options.Device = "cpu",
    activation: options.ActivationChoice = Activation.RELU,
    size: options.FixedSize = None,
    scenario: Annotated[
        Literal["single-stream", "offline"], typer.Option(help="One image at a time, or batches.")
    ] = "single-stream",
    batch: Annotated[int | None, typer.Option(min=1, help="With offline: images per run. [default: 16]")] = None,
    image: Annotated[
        Path | None, typer.Option(readable=False, metavar="IMAGE", help="Run on this photo. [default: noise]")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="With --image: also time every stage up to the page.")
    ] = False,
    runs: Annotated[int, typer.Option(min=1, help="Minimum runs per configuration.")] = 30,
    seconds: Annotated[float, typer.Option(min=0, max=3600, help="Minimum seconds per configuration.")] = 2.0,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Processes per configuration, one after another; fmedge compare needs at least 3. "
            "[default: 3 to 16, as fit into --budget]",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=86_400,
            metavar="SECONDS",
            help="Time per configuration, loading and warm-up included; there are 3 processes at least. [default: 18]",
        ),
    ] = None,
    energy: options.Energy = False,
    governor: options.Governor = None,
    cool_down: options.CoolDown = None,
    warm_up: options.WarmUp = 0.0,
    timeout: options.StepTimeout = 300.0,
    output: options.ReportFiles = None,
    calibration: options.Calibration = None,
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
        typer.Option("--model", readable=False, metavar="MODEL", help="Time this model file; may be repeated."),
    ] = None,
    on: On = None,
    as_json: options.AsJson = False,
) -> None:
    """Time engines, precisions and thread counts, each in its own process, taking turns."""
    from fmedge.bench import matrix, protocol, report_formats
    from fmedge.boards.registry import LOCAL
    from fmedge.cli.bench_boards import Asked, measure_on
    from fmedge.data.images import require_image_file
    from fmedge.runtime.cores import bind_process
    from fmedge.system.files import require_writable
    from fmedge.workflow.layer_names import split_list
    from fmedge.workflow.own_networks import read_own_network

    names = [LOCAL] if on is None else names_of(on)
    if cpus is not None and LOCAL in names:
        bind_process(options.parse_cpus(cpus))
    for path in output or ():
        report_formats.require_form(path)
        require_writable(*(report_path(path, name, several=len(names) > 1) for name in names))
    if model and any(each is not None for each in (network, weights, keras, onnx, calibration, variant, size)):
        raise UsageError("--model names files, which determine network, weights and form. Leave out those options.")
    if image is not None:
        require_image_file(image)
    if stages and (image is None or scenario == "offline"):
        raise UsageError("--stages follows one photo. Use it with --image and without --scenario offline.")
    if processes is not None and budget is not None:
        raise UsageError("--processes says how many there are, --budget how many fit. Use one of them.")
    own = read_own_network(keras=keras, onnx=onnx)
    wanted = matrix.BenchMatrix(
        layers=tuple(split_list(layer, own.names if own else ())),
        backends=None if backend is None else tuple(options.split(backend)),
        precisions=tuple(options.parse_list(precision, Precision)),
        variants=(matrix.PLAIN, *(options.split(variant) if variant else ())),
        maths=_parse_maths(math),
        threads=None if threads is None else options.parse_threads(threads),
        activation=activation,
        size=options.parse_fixed_size(size),
        scenario=scenario,
        batch=batch or (_OFFLINE_BATCH if scenario == "offline" else 1),
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
    asked = None
    if names != [LOCAL]:
        words = told(
            ("--math", math), ("--threads", threads), ("--cpus", cpus), ("--device", device), ("--scenario", scenario),
            ("--batch", wanted.batch if scenario == "offline" else None), ("--runs", runs), ("--seconds", seconds),
            ("--processes", processes), ("--budget", budget), ("--timeout", timeout), ("--backend", backend),
            ("--governor", governor), ("--cool-down", cool_down), ("--warm-up", warm_up or None),
        )  # fmt: skip
        switches = [flag for flag, given in (("--stages", stages), ("--energy", energy)) if given]
        asked = Asked(wanted, model or (), [*words, *switches], image)
    how = protocol.Protocol(
        runs,
        seconds,
        timeout,
        image,
        stages,
        processes or protocol.PROCESSES,
        budget_s=None if processes else budget or protocol.BUDGET_S,
        cool_down_c=cool_down,
        warm_up_s=warm_up,
    )
    reports: dict[str, Report] = {}
    if LOCAL in names:
        kept = [report_path(path, LOCAL, several=len(names) > 1) for path in output or () if path.suffix == ".json"]
        reports[LOCAL] = _measure(wanted, model or (), how, energy=energy, governor=governor, kept=kept)
        if reports[LOCAL].interrupted:
            obeyed()
    errors: dict[str, FmedgeError] = {}
    interrupted = False
    if asked is not None and not any(report.interrupted for report in reports.values()):
        found, errors, interrupted = measure_on([name for name in names if name != LOCAL], asked)
        reports |= found
    if reports:
        _write(output or (), reports, several=len(names) > 1)
    if as_json:
        data = {name: report.to_dict() for name, report in reports.items()}
        print_json(data[LOCAL] if asked is None else data)
    else:
        for name, report in reports.items():
            if asked is not None:
                emit(f"{name}:")
            _show(report)
    if interrupted:
        raise KeyboardInterrupt
    raise_first(errors)
    _judge(reports)


def _measure(
    wanted: BenchMatrix,
    models: Sequence[Path],
    how: Protocol,
    *,
    energy: bool,
    governor: str | None,
    kept: Sequence[Path],
) -> Report:
    """Measure on this machine.

    Args:
        wanted: What is measured.
        models: Model files to measure instead.
        how: How it is measured.
        energy: Whether energy is measured.
        governor: The clocks' governor meanwhile; None leaves it.
        kept: Reports that are written from time to time, so that nothing is lost where the machine stops.
    """
    from fmedge.bench import matrix, model_cases, protocol, report_formats, scheduler
    from fmedge.system.files import write_bytes
    from fmedge.system.sensors.table import find_power
    from fmedge.system.topology import governor_set

    with logged_lines():
        if models:
            found, missing = model_cases.prepare_model_cases(wanted, models)
        else:
            found, missing = matrix.prepare_cases(wanted, progress=ProgressLine())
    if not found and not any(each.exit_code for each in missing):
        raise UsageError(f"Nothing can be measured. {missing[0].configuration.describe()}: {missing[0].reason}.")
    if energy:
        search = find_power(device=wanted.device)
        how = protocol.with_energy(how, search.source.rate_hz if search.source else 0.0)
        if search.source is None:
            say(f"No energy is measured: {search.reason}.")
    with governor_set(governor) if governor else nullcontext():
        if found:
            say(protocol.announce(how, found))

        def keep(report: Report) -> None:
            for path in kept:
                write_bytes(path, report_formats.FORMS[".json"](report).encode())

        return scheduler.measure(found, how, missing=missing, progress=ProgressLine(), keep=keep)


def _write(paths: Sequence[Path], reports: Mapping[str, Report], *, several: bool) -> None:
    """Write reports: one page of all of them, and other files one per board, named for it where there are several."""
    from fmedge.bench import report_formats
    from fmedge.data.bench_report import MAX_REPORT_BYTES
    from fmedge.render.report import render_report
    from fmedge.system.files import write_bytes

    for path in paths:
        if path.suffix.lower() == ".html":
            write_bytes(
                path, render_report(dict(reports)) if several else report_formats.to_html(*reports.values()).encode()
            )
            continue
        for name, report in reports.items():
            place = report_path(path, name, several=several)
            content = report_formats.FORMS[path.suffix.lower()](report).encode()
            write_bytes(place, content)
            if path.suffix.lower() == ".json" and len(content) > MAX_REPORT_BYTES:
                say(
                    f"'{place}' holds {len(content):,} bytes; fmedge report reads at most {MAX_REPORT_BYTES:,}. "
                    "Measure fewer runs."
                )


def _show(report: Report) -> None:
    from fmedge.bench import report_formats

    for line in report_formats.describe(report):
        emit(line)
    print_table(report_formats.header(report), report_formats.table(report), left=3)
    header, rows = report_formats.stage_table(report)
    if rows:
        print_table(header, rows)


def _judge(reports: Mapping[str, Report]) -> None:
    """Print what is missing or doubtful; after a failure, exit with the code of the first one."""
    from fmedge.bench import report_formats
    from fmedge.boards.registry import LOCAL

    codes = [each.exit_code for report in reports.values() for each in report.missing if each.exit_code]
    here = reports.get(LOCAL)  # boards have said theirs
    for each in here.missing if here else ():
        say(f"{'Failed' if each.exit_code else 'Skipped'}: {each.configuration.describe()}: {each.reason}")
    for line in report_formats.doubt_lines(here) if here else ():
        say(line)
    if codes:
        raise typer.Exit(codes[0])


def _parse_maths(words: str) -> tuple[Math, ...]:
    allowed = get_args(Math)
    for word in options.split(words):
        if word not in allowed:
            raise UsageError(f"Unknown math '{word}'.{closest(word, allowed)} Allowed: {', '.join(allowed)}.")
    return tuple(name for name in allowed if name in options.split(words))
