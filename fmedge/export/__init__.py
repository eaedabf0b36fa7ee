"""From weights to an artifact: build, check, write."""

from fmedge.export.exporter import EXPORTERS, Built, build_artifact, find_exporter, require_options
from fmedge.export.int8.calibration import Calibration, read_calibration
from fmedge.export.judging import check
from fmedge.export.network import Network, StockNetwork

__all__ = [
    "EXPORTERS",
    "Built",
    "Calibration",
    "Network",
    "StockNetwork",
    "build_artifact",
    "check",
    "find_exporter",
    "read_calibration",
    "require_options",
]
