"""``python -m fmedge``."""

from fmedge.cli import entry

entry()
