"""The ``fmedge`` command."""

from fmedge.cli.main import main

__all__ = ["main"]
