"""``fmedge dataset``: describe, verify and merge what ``fmedge extract`` has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmedge.cli.console import emit, print_json, say
from fmedge.cli.options import AsJson, Threads
from fmedge.errors import ArtifactError, UsageError, printable

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


_Place = Annotated[str, typer.Argument(metavar="PLACE", help="The data set: a folder, or an address.")]


@dataset_app.command("info")
def info_command(place: _Place, as_json: AsJson = False) -> None:
    """Show what a data set holds, how much of it is done, and why inputs failed."""
    from fmedge.bulk.checking import describe_dataset
    from fmedge.bulk.stores import open_store

    found = describe_dataset(open_store(place))
    if as_json:
        print_json(found.to_dict())
        return
    key = found.key
    emit(f"{place}: {found.ok:,} of {key.inputs:,} images, {found.shards:,} of {key.shards:,} shards")
    emit(f"  {key.weights}, {key.activation}, {key.backend}, {key.dtype}{', norm 1' if key.l2 else ''}, {key.format}")
    if key.reduction:
        emit(f"  shortened: {key.reduction}")
    for column in key.columns:
        emit(f"  {column.name}: {' x '.join(f'{extent:,}' for extent in column.shape)} values")
    emit(f"  {found.data_bytes / 1e6:,.1f} MB")
    for reason, count in [*found.reasons.items()][:_MOST_REASONS]:
        say(f"{count:,} failed: {printable(reason)}")


@dataset_app.command("verify")
def verify_command(
    place: _Place,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Look only at so many images, evenly chosen.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT", help="Compute these images again, the ones that were extracted, and compare."),
    ] = None,
    column: Annotated[str | None, typer.Option(metavar="NAME", help="As extract had it.")] = None,
    model: Annotated[
        Path | None, typer.Option(readable=False, metavar="MODEL", help="The model file, to compute them with.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Check that every input is there once, with the values that its row names."""
    from fmedge.bulk.checking import describe_dataset, verify_dataset, verify_values, wish_of
    from fmedge.bulk.dataset import read_key
    from fmedge.bulk.finding import find_inputs
    from fmedge.bulk.stores import open_store
    from fmedge.workflow.model_files import open_model

    if bool(inputs) != bool(model):
        raise UsageError(
            "inputs and model: images are computed again with both, or not at all.", flags=("--inputs", "--model")
        )
    store = open_store(place)
    faults = verify_dataset(store, sample)
    if inputs and model and not faults:
        wish = wish_of(read_key(store), open_model(model), threads)
        faults = verify_values(store, find_inputs(inputs, column), wish, sample)
    for fault in faults[1:]:
        say(printable(fault))
    if faults:
        raise ArtifactError(printable(faults[0]))
    found = describe_dataset(store)
    state = "whole" if found.whole else f"{found.shards:,} of {found.key.shards:,} shards, each of them whole"
    looked = "" if sample is None else f", judged by {sample:,} images"
    emit(f"{place}: {state}{looked}; {found.ok:,} images, {found.failed:,} failed")


@dataset_app.command("merge")
def merge_command(
    places: Annotated[list[str], typer.Argument(metavar="PLACE...", help="Data sets of the same inputs and options.")],
    output: Annotated[
        str, typer.Option(metavar="PLACE", help="A new data set, or one of the same inputs and options.")
    ],
) -> None:
    """Put together what several jobs have made, each in a place of its own."""
    from fmedge.bulk.checking import describe_dataset, merge_datasets
    from fmedge.bulk.stores import open_store

    target = open_store(output)
    merge_datasets([open_store(place) for place in places], target)
    found = describe_dataset(target)
    emit(f"{output}: {found.shards:,} of {found.key.shards:,} shards")
