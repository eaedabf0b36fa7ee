"""Image files decoded in a process that has 1 GB of address space, and 5 seconds of computing for a file."""

import json
import os
import subprocess
import sys

import pytest

from support.messages import bare
from support.places import ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")

SECONDS = 5

CHILD = """
import json, pathlib, resource, signal, sys, warnings
warnings.simplefilter("ignore")  # as in a command
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from fmedge.errors import FmedgeError
from fmedge.data.images import load_photo
outcomes = {}
for name in json.loads(sys.argv[1]):
    signal.setitimer(signal.ITIMER_PROF, 5)  # seconds of computing; unhandled: the signal ends the process
    try:
        outcomes[name] = [0, list(load_photo(pathlib.Path(name), (8, 8)).original_size)]
    except FmedgeError as error:
        outcomes[name] = [error.exit_code, str(error)]
    signal.setitimer(signal.ITIMER_PROF, 0)
print(json.dumps(outcomes))
"""


def decoded(*paths):
    """Exit code and size, or message, of each file."""
    words = [sys.executable, "-c", CHILD, json.dumps(list(map(str, paths)))]
    # a machine of many cores would give NumPy's threads all of the little memory: 40 MB each
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60 + SECONDS * len(paths), check=False
    )
    assert process.returncode == 0, (process.returncode, process.stderr)
    assert process.stderr == ""
    outcomes = json.loads(process.stdout)
    assert all(code == 0 or (said.isprintable() and len(bare(said)) <= 190) for code, said in outcomes.values())
    return outcomes
