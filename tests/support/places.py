"""Where things lie: the checkout, and the data that is no part of it."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""

TEST_DATA = Path(os.environ.get("FMEDGE_TEST_DATA") or ROOT.parent / "shared")
"""Holds ``vgg16/`` (real weights), ``photos/`` and ``odd_images/``; not part of the project."""
