"""What is fuzzed: every reader of what comes from outside, and the writer of pages. Bytes in; an error of ours, or
none. Anything else that is raised is a finding.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

import fmedge.runtime.gate.native_reader
import fmedge.runtime.gate.ncnn_reader
import fmedge.runtime.gate.onnx_reader
import fmedge.runtime.gate.tflite_reader  # noqa: F401 - here and not when used: only what is imported now is instrumented
from fmedge.data.bench_report import read_report
from fmedge.data.images import load_photo
from fmedge.errors import FmedgeError
from fmedge.model.card import ModelCard
from fmedge.model.h5_weights import read_h5
from fmedge.model.stock import STOCK, VGG16
from fmedge.model.submodel import Format
from fmedge.render.page import render_page
from fmedge.runtime.gate.checks import inspect_model
from fmedge.workflow.tuned_choice import read_tuned
from support.page_samples import make_maps, random_maps


@cache
def _folder() -> Path:
    """Memory rather than a disk where there is one: a fuzzer writes thousands of files a second."""
    memory = "/dev/shm"
    return Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))


def _file(data: bytes, suffix: str) -> Path:
    path = _folder() / f"{os.getpid()}{suffix}"
    path.write_bytes(data)
    return path


def image(data: bytes) -> None:
    """The image loader."""
    photo = load_photo(_file(data, ".jpg"), (16, 16))
    assert photo.pixels.shape == (16, 16, 3)


def h5(data: bytes) -> None:
    """The reader of weights."""
    for kernel, bias in read_h5(_file(data, ".h5"), STOCK[VGG16].through("block1_conv1")).values():
        assert (kernel.shape, bias.shape) == ((3, 3, 3, 64), (64,))


def onnx(data: bytes) -> None:
    """The gate of ONNX."""
    inspect_model(Path("model.onnx"), Format.ONNX, data)


def tflite(data: bytes) -> None:
    """The gate of TFLite."""
    inspect_model(Path("model.tflite"), Format.TFLITE, data)


def ncnn(data: bytes) -> None:
    """The gate of ncnn: the graph, a line of ``---``, the weights."""
    graph, _, weights = data.partition(b"\n---\n")
    inspect_model(Path("model.ncnn.param"), Format.NCNN, graph, weights)


def native(data: bytes) -> None:
    """The gate of the native engine's models."""
    inspect_model(Path("model.fmchain"), Format.NATIVE, data)


def card(data: bytes) -> None:
    """The reader of cards; what it takes, it writes again."""
    found = ModelCard.from_json(data.decode(errors="replace"))
    assert ModelCard.from_json(found.to_json()) == found


def choice(data: bytes) -> None:
    """The reader of tuned choices."""
    read_tuned(_file(data, ".json"))


def report(data: bytes) -> None:
    """The reader of reports."""
    read_report(_file(data, ".json"))


class _Scripts(HTMLParser):
    count = 0

    def handle_starttag(self, tag, attrs):
        del attrs
        self.count += tag == "script"


def _scripts(name: str) -> int:
    parser = _Scripts()
    maps = make_maps(random_maps(2, 3, 4), layer=name, image_name=name, backend=name, active_provider=name)
    parser.feed(render_page(maps).decode())
    return parser.count


@cache
def _plain_scripts() -> int:
    return _scripts("plain")


def page(data: bytes) -> None:
    """The writer of pages: names from outside add no script."""
    assert _scripts(data.decode(errors="surrogateescape").encode(errors="replace").decode()) == _plain_scripts()


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (image, h5, onnx, tflite, ncnn, native, card, choice, report, page)
}


def run_target(name: str, data: bytes) -> bool:
    """Run a target; whether the data was taken. Raises what is no error of ours."""
    assert np.geterr()["divide"] in ("warn", "raise", "ignore")  # NumPy is loaded before the fuzzer's clock starts
    try:
        TARGETS[name](data)
    except FmedgeError as error:
        assert len(str(error).splitlines()) == 1, error
        return False
    return True
