"""Run pnnx, ncnn's own converter, in a process of its own: it reads an ONNX file and writes ncnn's pair of files."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from fmedge.errors import BackendUnavailable, LimitExceeded, UsageError, WriteError, printable
from fmedge.model.artifact import MAX_MODEL_BYTES
from fmedge.system import children
from fmedge.system.address_space import address_limit
from fmedge.system.temp_files import temporary_folder

try:
    import resource
except ImportError:  # Windows
    resource = None

INSTALL = "pip install --no-deps pnnx"
"""What installs pnnx. It asks for PyTorch, gigabytes that reading ONNX does not need: hence not an extra of fmedge."""

_SECONDS, _BYTES_PER_S = 60.0, 1_000_000
"""Time that pnnx may take, plus some for the size of the model. Measured on 2 cores: 0.2 s, and 2.6 s for 111 MB."""

_BYTES, _PER_BYTE = 8 << 30, 16
"""Address space that it may take, plus some for every byte of the model. Measured on 2 cores: less than 0.4 GB, and
less than 1 GB for 111 MB; each further core takes 8 MB for a thread's stack."""

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
_THRIFT = {"MALLOC_ARENA_MAX": "1"}
"""Environment variables that it gets: those that programs need to start at all, and one that keeps glibc from
reserving 64 MB of address space for each thread."""

_LAST_BYTES = 1 << 14
"""Bytes of what it printed, at the end, that are looked through for the reason of a failure."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Converted(NamedTuple):
    """What pnnx wrote.

    Attributes:
        graph: The graph as text.
        weights: Content of the second file.
    """

    graph: str
    weights: bytes


def pnnx_version() -> str:
    """Return the version of pnnx.

    Raises:
        BackendUnavailable: It is not installed.
    """
    _program()
    try:
        return version("pnnx")
    except PackageNotFoundError as error:
        raise _missing() from error


def convert(model: bytes, shape: tuple[int, ...], other: tuple[int, ...] | None = None, *, half: bool) -> Converted:
    """Convert an ONNX model, whose one input and outputs become ``in0`` and ``out0``, ``out1``….

    Args:
        model: The ONNX file's content.
        shape: Shape of its input.
        other: A second shape that the result must be right for, too, if its size is open.
        half: Whether kernels are stored as float16.

    Raises:
        BackendUnavailable: pnnx is not installed.
        UsageError: It cannot convert the model.
        LimitExceeded: It takes too long, or no process can be started.
        WriteError: There is no room for its files.
    """
    shapes = {"inputshape": shape, "inputshape2": other}
    words = [f"{name}=[{','.join(map(str, each))}]" for name, each in shapes.items() if each is not None]
    command = [str(_program()), "model.onnx", *words, f"fp16={int(half)}"]
    try:
        with temporary_folder() as folder:
            (folder / "model.onnx").write_bytes(model)
            code = _run(command, folder, len(model))
            graph, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
            if code == 0 and graph.is_file() and weights.is_file():
                return Converted(graph.read_text(encoding="utf-8", errors="replace"), weights.read_bytes())
            raise _failed(code, folder / "said")
    except OSError as error:
        raise WriteError(f"No room for pnnx' temporary files ({error.strerror or error}).") from error


def _program() -> Path:
    """Return pnnx' program; the package around it is not imported, since it needs PyTorch."""
    found = find_spec("pnnx")
    name = "pnnx.exe" if os.name == "nt" else "pnnx"
    for folder in (found and found.submodule_search_locations) or ():
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise _missing()


def _missing() -> BackendUnavailable:
    return BackendUnavailable(
        "Making ncnn from a network of your own needs pnnx, which is not installed.",
        hint=f"Without PyTorch, 30 MB: {INSTALL}. Or use --format onnx.",
    )


def _run(command: list[str], folder: Path, size: int) -> int:
    """Run pnnx to its end and return its exit code; what it prints goes into the file ``said``."""
    environment = {**_THRIFT, **{name: os.environ[name] for name in _INHERITED if name in os.environ}}
    seconds = _SECONDS + size / _BYTES_PER_S
    with (folder / "said").open("wb") as said:
        process = children.start(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _limit(process.pid, _BYTES + _PER_BYTE * size)
            return process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise LimitExceeded(
                f"pnnx had not converted the network after {seconds:.0f} s.", hint="Cut earlier, or use --format onnx."
            ) from error
        finally:
            children.end(process)
            process.wait()


def _limit(process: int, size: int) -> None:
    """Limit a child's address space and the files that it writes, where the system can (Linux)."""
    if resource is None or sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ValueError):  # it has ended already, or a container forbids it
        if address_limit() is None:
            resource.prlimit(process, resource.RLIMIT_AS, (size, size))
        resource.prlimit(process, resource.RLIMIT_FSIZE, (MAX_MODEL_BYTES, MAX_MODEL_BYTES))


def _failed(code: int, said: Path) -> UsageError:
    text = said.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
    lines = [printable(_COLOURS.sub("", line)).strip() for line in text.splitlines()]
    last = next((line for line in reversed(lines) if line), "") if code >= 0 else f"it ended by signal {-code}"
    return UsageError(
        f"pnnx cannot convert the network: {last[:90] or f'exit code {code}'}.",
        hint="Cut before what it fails on, or use --format onnx.",
    )
