"""``fmedge report``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fmedge.cli.console import emit
from fmedge.errors import UsageError

_SUFFIXES = (".html", ".htm")


def report_command(
    reports: Annotated[
        list[Path], typer.Argument(readable=False, metavar="REPORT.json...", help="Reports that fmedge bench wrote.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", readable=False, metavar="FILE.html", help="The page to write.")
    ] = Path("report.html"),
) -> None:
    """Draw reports of fmedge bench as one page: what is fastest, at which accuracy, machines side by side."""
    from fmedge.data.bench_report import read_report
    from fmedge.render.report import render_report
    from fmedge.system.files import require_writable, write_bytes

    if output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--output {output}: not the name of a page. Allowed: a name that ends in .html.")
    names = _names(reports)
    require_writable(output)
    write_bytes(output, render_report({name: read_report(path) for name, path in zip(names, reports, strict=True)}))
    emit(str(output))


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the page's name for each report: the file's name without its suffix, or the path where two are the same.

    Raises:
        UsageError: A report is given twice.
    """
    repeated = [path for path, count in Counter(path.absolute() for path in paths).items() if count > 1]
    if repeated:
        raise UsageError(f"'{repeated[0]}' is given twice. Give each report once.")
    alike = Counter(path.stem for path in paths)
    return [path.stem if alike[path.stem] == 1 else str(path) for path in paths]
