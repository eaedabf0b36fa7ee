"""File names and messages in locales and encodings that lack their letters: never a traceback."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from support.models import name_of_run

NAME = "фото-日本-é.png"

PLACES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "cp1251": {"PYTHONIOENCODING": "cp1251"},
    "iso8859-1": {"PYTHONIOENCODING": "iso8859-1"},
    "iso8859-15": {"PYTHONIOENCODING": "iso8859-15"},
    "euc-jp": {"PYTHONIOENCODING": "euc_jp"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
}


def fmedge(words, place, folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    command = [sys.executable, "-m", "fmedge", *words]
    return subprocess.run(
        command, cwd=folder, env={**environment, **PLACES[place]}, capture_output=True, timeout=60, check=False
    )


@pytest.mark.few(3)
@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX")
@pytest.mark.parametrize("place", PLACES)
def test_a_file_name_of_other_letters(place, tmp_path):
    Image.new("RGB", (40, 30), (200, 100, 50)).save(tmp_path / NAME)
    page = NAME.replace(".png", ".html")
    ran = fmedge(["run", NAME, "--weights", "untrained", "--output", page], place, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / page).is_file()
    lost = fmedge(["run", "missing-" + NAME, "--weights", "untrained", "--output", page], place, tmp_path)
    assert lost.returncode == 3
    assert lost.stderr.startswith(b"Error: ")
    assert lost.stderr.count(b"\n") == 1
    told = fmedge(["info", f"models/{name_of_run()}", "--json"], place, tmp_path)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout.decode("ascii", "replace"))
