"""The Typer application: every command with its options, as ``--help`` shows them."""

from __future__ import annotations

from typing import Annotated

import typer

from fmedge._version import __version__
from fmedge.cli import (
    bench,
    boards,
    compare,
    dataset,
    deploy,
    diff,
    doctor,
    export,
    extract,
    info,
    layers,
    report,
    run,
    trust,
    tune,
    verify,
)

app = typer.Typer(
    name="fmedge",
    help="CNN feature maps on the edge: cut at a layer, export, run, view.",
    rich_markup_mode=None,  # Rich takes too long to load for a help text
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)
app.command("export")(export.export_command)
app.command("verify")(verify.verify_command)
app.command("run")(run.run_command)
app.command("extract")(extract.extract_command)
app.command("diff")(diff.diff_command)
app.command("bench")(bench.bench_command)
app.command("compare")(compare.compare_command)
app.command("tune")(tune.tune_command)
app.command("report")(report.report_command)
app.command("deploy")(deploy.deploy_command)
app.command("trust")(trust.trust_command)
app.command("doctor")(doctor.doctor_command)
app.command("layers")(layers.layers_command)
app.command("info")(info.info_command)
app.add_typer(boards.boards_app)
app.add_typer(dataset.dataset_app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fmedge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Before the command: also show where an error came from.")
    ] = False,
) -> None:
    del version  # handled by its callback
    context.obj["debug"] = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
