"""The ``fmedge`` command."""

from fmedge.cli.main import entry, main

__all__ = ["entry", "main"]
