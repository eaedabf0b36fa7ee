"""From weights to an artifact: build, check, write."""

from fmedge.export.exporter import EXPORTERS, build_artifact

__all__ = ["EXPORTERS", "build_artifact"]
