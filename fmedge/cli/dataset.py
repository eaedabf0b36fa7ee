"""``fmedge dataset``: describe, verify and merge what ``fmedge extract`` has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmedge.cli.console import emit, print_json, say
from fmedge.cli.options import AsJson
from fmedge.errors import ArtifactError, printable

dataset_app = typer.Typer(
    name="dataset",
    help="Data sets of features: what they hold, whether they are whole, and merging.",
    rich_markup_mode=None,
    invoke_without_command=True,
)

_MOST_REASONS = 10


@dataset_app.callback()
def _common(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_Folder = Annotated[Path, typer.Argument(readable=False, metavar="DIR", help="The data set.")]


@dataset_app.command("info")
def info_command(folder: _Folder, as_json: AsJson = False) -> None:
    """Show what a data set holds, how much of it is done, and why inputs failed."""
    from fmedge.bulk.checking import describe_dataset

    found = describe_dataset(folder)
    if as_json:
        print_json(found.to_dict())
        return
    key = found.key
    emit(f"{folder}: {found.ok:,} of {key.inputs:,} images, {found.shards:,} of {key.shards:,} shards")
    emit(f"  {key.weights}, {key.activation}, {key.backend}, {key.dtype}{', norm 1' if key.l2 else ''}")
    for column in key.columns:
        emit(f"  {column.name}: {column.length:,} values")
    emit(f"  {found.data_bytes / 1e6:,.1f} MB")
    for reason, count in [*found.reasons.items()][:_MOST_REASONS]:
        say(f"{count:,} failed: {printable(reason)}")


@dataset_app.command("verify")
def verify_command(folder: _Folder) -> None:
    """Check that every input is there once, with the vectors that its row names."""
    from fmedge.bulk.checking import describe_dataset, verify_dataset

    faults = verify_dataset(folder)
    for fault in faults[1:]:
        say(printable(fault))
    if faults:
        raise ArtifactError(printable(faults[0]))
    found = describe_dataset(folder)
    state = "whole" if found.whole else f"{found.shards:,} of {found.key.shards:,} shards, each of them whole"
    emit(f"{folder}: {state}; {found.ok:,} images, {found.failed:,} failed")


@dataset_app.command("merge")
def merge_command(
    folders: Annotated[
        list[Path], typer.Argument(readable=False, metavar="DIR...", help="Data sets of the same inputs and options.")
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="A new data set, or one of the same inputs and options.")],
) -> None:
    """Put together what several jobs have made, each in a folder of its own."""
    from fmedge.bulk.checking import describe_dataset, merge_datasets

    merge_datasets(folders, output)
    found = describe_dataset(output)
    emit(f"{output}: {found.shards:,} of {found.key.shards:,} shards")
