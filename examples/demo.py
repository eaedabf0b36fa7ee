"""What `make demo` does: a photo in, a page out; random weights where the real ones cannot be had."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from draw_picture import draw
from fmedge.cli import main as fmedge
from fmedge.errors import FmedgeError, WeightsError
from fmedge.runtime.backends import find_backend
from fmedge.workflow.artifacts import obtain_artifact
from fmedge.workflow.request import default_options, request_artifact


def main() -> int:
    """Run the demonstration; returns the exit code of ``fmedge run``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", help="a photo; default: a picture drawn for the purpose")
    parser.add_argument("--layer", default="block1_conv1")
    chosen = parser.parse_args()
    image = chosen.image or _own_picture()
    words = ["run", image, "--layer", chosen.layer]
    try:
        obtain_artifact(request_artifact(chosen.layer, options=default_options()))
    except WeightsError as error:
        print(f"{error}\nThe demonstration continues with untrained weights: random filters, not learned ones.")
        words += ["--weights", "untrained"]
    except FmedgeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    code = fmedge(words)
    kernels = find_backend("native")
    if code == 0 and not kernels.installed:
        print(f"fmedge's own kernels run VGG16 in half the time. With a C++ compiler: {kernels.install}.")
    return code


def _own_picture() -> str:
    path = Path("demo.png")
    draw().save(path)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
