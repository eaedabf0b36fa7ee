"""Everything that fmedge does with a board, on the emulated Arm board of ``board.sh``, once it is started.

usage: board_tour.py FOLDER [offline] [online] [deploy]
FMEDGE_TEST_DATA: real weights and photos; otherwise untrained weights
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from arm64.maxima import digits, shown
from support.places import TEST_DATA

LAYERS = ("block1_conv1", "block2_conv2", "block3_conv3")
NAME = "armpi"


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        os.environ.update(XDG_CONFIG_HOME=place, FMEDGE_MODELS=f"{place}/models")
        tour(folder, Path(place))


def tour(folder: Path, place: Path) -> None:
    here = Path(__file__).with_name("board.sh")
    config = folder / "ssh_config"
    weights = TEST_DATA / "vgg16" / "vgg16_blocks123_notop.h5"
    sub = ["--weights", str(weights) if weights.is_file() else "untrained"]
    photo = next(iter(sorted((TEST_DATA / "photos").glob("kodim*.png"))), None) or _noise(place)

    parts = sys.argv[2:] or ["offline", "online", "deploy"]
    if "offline" in parts:
        offline(folder, here, config)
    if "online" in parts:
        online(place, config, sub, photo)
    if "deploy" in parts:
        deploy(place, config, sub, photo)


def offline(folder: Path, here: Path, config: Path) -> None:
    say("off the network, with wheels from here")
    subprocess.run([here, "cut", folder], check=True)
    try:
        refused = fmedge("boards", "add", NAME, NAME, "--ssh-config", config, code=5)
        assert "--copy-wheels" in refused.stderr, refused.stderr
        fmedge("boards", "add", NAME, NAME, "--ssh-config", config, "--copy-wheels")
    finally:
        subprocess.run([here, "mend", folder], check=True)
    fmedge("boards", "remove", NAME)
    assert not [*(folder / "root" / "home" / "pi").glob(".local*")], "something is left"


def online(place: Path, config: Path, sub: list[str], photo: Path) -> None:
    say("on the network")
    fmedge("boards", "add", NAME, NAME, "--ssh-config", config)
    found = json.loads(fmedge("doctor", "--on", NAME, "--json", code=None).stdout)[NAME]
    assert found["machine"]["architecture"] == "aarch64"
    for engine in found["engines"]:
        print(engine["backend"], [each["said"] for each in engine["devices"] if each["device"] == "cpu"])
    for layer in LAYERS:
        for engine in ("onnxruntime", "ncnn"):
            words = ["run", photo, *sub, "--layer", layer, "--backend", engine, "--no-page", "--save-maps"]
            fmedge(*words, place / "there.npz", "--on", NAME)
            fmedge(*words, place / "here.npz")
            with np.load(place / "there.npz") as there, np.load(place / "here.npz") as here_:
                name = next(each for each in there.files if there[each].ndim == 3)
                maxima, expected = (each[name].max(axis=(1, 2)) for each in (there, here_))
                agree = digits(maxima, expected).min()
                print(f"{layer}, {engine}: maximum {maxima.max():.6g}, of every map to {shown(agree)} digits")
                assert agree >= 5
    bench = ["bench", *sub, "--on", NAME, "--backend", "onnxruntime,ncnn", "--processes", "1", "--runs", "3"]
    fmedge(*bench, "--seconds", "0", "--output", place / "b.json", "--output", place / "b.html")


def deploy(place: Path, config: Path, sub: list[str], photo: Path) -> None:
    """What stays on a board that is set up: a choice of its own, and a deployment."""
    say("a choice and a deployment")
    if "online" not in sys.argv[2:]:
        fmedge("boards", "add", NAME, NAME, "--ssh-config", config, "--python", "python3", "--no-setup")
    tune = ["tune", *sub, "--on", NAME, "--backend", "ncnn", "--threads", "1", "--seconds", "0"]
    print(fmedge(*tune).stdout)
    fmedge("run", photo, *sub, "--on", NAME, "--output", place / "p.html")
    (choice,) = (place / "models").glob(f"*.{NAME}.tuned.json")
    fmedge("deploy", choice, "--on", NAME, "--to", "/home/pi/fm", *sub)
    ssh = ["ssh", "-F", config, NAME, "/home/pi/fm/current/verify"]
    print(subprocess.run(ssh, check=True, capture_output=True, text=True).stdout)
    print(fmedge("boards", "status", NAME).stdout)
    fmedge("boards", "remove", NAME)
    subprocess.run(ssh, check=True, capture_output=True)
    say("the deployment works without the rest; done")


def fmedge(*words: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    start = time.monotonic()
    command = [sys.executable, "-m", "fmedge", *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True)
    print(f"{time.monotonic() - start:6.1f} s  fmedge {' '.join(map(str, words))}", flush=True)
    assert code is None or ran.returncode == code, ran.stdout + ran.stderr
    return ran


def _noise(place: Path) -> Path:
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    Image.fromarray(pixels).save(place / "noise.png")
    return place / "noise.png"


def say(text: str) -> None:
    print(f"--- {text}", flush=True)


if __name__ == "__main__":
    main()
