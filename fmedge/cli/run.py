"""``fmedge run`` as a Typer command; :mod:`fmedge.cli.run_job` does the work."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from fmedge.cli import options
from fmedge.cli.run_command import OPTIONS, RunCommand


def run_command(**words: Any) -> None:  # noqa: ANN401 - the signature is that of RunCommand
    """Compute the feature maps of a layer and draw them on a page for each photo."""
    from fmedge.cli.run_job import run

    run(RunCommand(**words))


_IMAGES = Annotated[
    list[Path],
    typer.Argument(
        readable=False,
        metavar="IMAGE...",
        help="JPEG, PNG, WebP or BMP files, folders of them, or patterns such as 'photos/**/*.jpg'.",
    ),
]
run_command.__annotations__ = {
    "images": _IMAGES,
    **{name: Annotated[RunCommand.__annotations__[name], options.of_run(name)] for name in OPTIONS},
    "return": None,
}
run_command.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess] - read by Typer
    [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=RunCommand._field_defaults.get(name, inspect.Parameter.empty),
            annotation=run_command.__annotations__[name],
        )
        for name in RunCommand._fields
    ]
)
