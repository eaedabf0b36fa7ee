"""The trial: a model that is not known is loaded and run once in a child process, before it is in this one.

The gate keeps out what is known to be dangerous; what an engine makes of the rest shows here, where it can only end
the child. The child gets the model's bytes, not its path, no secrets of the environment, little memory and little time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fmedge import children, floors
from fmedge.artifact import Artifact
from fmedge.card import ModelCard, TensorSpec
from fmedge.errors import ArtifactError, FmedgeError, LimitExceeded
from fmedge.quiet import own_process
from fmedge.runtime.session import FloatArray, Images
from fmedge.vgg16 import INPUT_SIZE

BASE_BYTES = 3 << 30
"""Address space of the child. At full depth of VGG16 OpenVINO reserves 0.73 GB, ONNX Runtime 0.44 and LiteRT 0.21, all
of Python and one thread among them (Linux, x86-64); four times the largest leaves room for wider networks."""

BYTES_PER_MODEL_BYTE = 8
"""And this for every byte of the model: read, joined, handed over, copied by the engine, and laid out anew by it."""

SECONDS = 60.0
"""The whole trial. At full depth of VGG16 it takes 0.8 s on a 2-core x86-64, imports among them; boards take ten times
as long, and a deeper network a few times that."""

_INHERITED = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL"),
    "MALLOC_ARENA_MAX",
)
"""Variables that the child gets: what programs need to start at all."""

_ERRORS: Mapping[str, type[FmedgeError]] = {"ArtifactError": ArtifactError, "LimitExceeded": LimitExceeded}
"""What the child may report; anything else counts as a model that the engine refuses."""


def try_model(artifact: Artifact, backend: str, *, seconds: float = SECONDS, base_bytes: int = BASE_BYTES) -> None:
    """Load a model and run it once, on the CPU of a child process.

    Args:
        artifact: The model, let through by the gate.
        backend: Name of the engine.
        seconds: Longest time allowed.
        base_bytes: Address space allowed, besides what the model's size asks for; not limited where the system has no
            such limit (Windows).

    Raises:
        ArtifactError: The engine refuses it, or it does not compute what its card says.
        LimitExceeded: It crashed the child, or needs too much memory or time.
    """
    head = json.dumps(
        {
            "backend": backend,
            "bytes": base_bytes + BYTES_PER_MODEL_BYTE * artifact.size,
            "weights": len(artifact.weights),
            "seconds": seconds,
            "path": artifact.path.name,
            "card": artifact.card.to_json(),
        }
    )
    with _start(artifact) as process:
        try:
            answer, _ = process.communicate(head.encode() + b"\n" + artifact.model + artifact.weights, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise LimitExceeded(
                f"'{artifact.path.name}' did not run within {seconds:g} s when it was tried. Allowed: models that do."
            ) from error
        finally:
            process.kill()  # after Ctrl-C, too; one that ended is let alone
            process.wait()
    _judge(artifact, process.returncode, answer)


def _start(artifact: Artifact) -> subprocess.Popen[bytes]:
    try:
        return children.start(
            children.module_command("fmedge.runtime.trial"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.path.abspath(os.sep),  # noqa: PTH100 - a drive's root on Windows
            env=_environment(),
        )
    except LimitExceeded as error:
        raise LimitExceeded(f"'{artifact.path.name}' cannot be tried. {error}") from error


def _environment() -> dict[str, str]:
    """The child finds the modules that this process finds, and knows little else."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        "PYTHONPATH": children.module_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's takes 40 MB of address space per core, for nothing here
    }


def _judge(artifact: Artifact, code: int, answer: bytes) -> None:
    """Turn the child's end into an error of ours, or into none."""
    name = artifact.path.name
    report: dict[str, str | None] = {}
    with contextlib.suppress(ValueError):  # it ended before, or while, it wrote
        report = dict(json.loads(answer))
    if code == 0 and report == {"error": None}:
        return
    if code < 0:
        raise LimitExceeded(
            f"'{name}' ended the engine by signal {-code} when it was tried in a process of its own. It was not run. "
            "Export it again: fmedge export."
        )
    kind = _ERRORS.get(str(report.get("error")), ArtifactError)
    raise kind(
        str(report.get("message") or f"'{name}' does not run (the trial ended with code {code}). Export it again.")
    )


def main() -> None:
    """The child: read a model from stdin, run it once, write to stdout what came of it."""
    source, answer = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # engines print
    line = source.readline()
    if not line:  # our parent was interrupted before it wrote
        os._exit(1)
    head = json.loads(line)
    _limit(int(head["bytes"]), float(head["seconds"]))
    floors.begin()
    report: dict[str, str | None] = {"error": None}
    try:
        _run(head, source)
    except FmedgeError as error:
        report = {"error": type(error).__name__, "message": str(error)}
    except Exception as error:  # engines' own share no base but Exception, and say only in words that memory ran out
        if floors.is_out_of_files(error):
            report = {"error": "LimitExceeded", "message": str(floors.shortage(error))}
        elif floors.is_shortage(error) or "alloc" in str(error).lower():
            report = {"error": "LimitExceeded", "message": _too_large(head)}
        else:
            report = {"error": "ArtifactError", "message": _refused(head, error)}
    answer.write(json.dumps(report))
    answer.flush()
    os._exit(0)  # an engine that crashes while it is taken apart has run all the same


def _too_large(head: Mapping[str, object]) -> str:
    allowed = (floors.address_limit() or int(str(head["bytes"]))) / 1e9
    return f"'{head['path']}' needs more than {allowed:.1f} GB to run once. Export it for fewer or smaller images."


def _refused(head: Mapping[str, object], error: Exception) -> str:
    return f"'{head['path']}' is not run by {head['backend']} ({type(error).__name__}). Export it again: fmedge export."


def _limit(address_space: int, seconds: float) -> None:
    """Bound what this process may take; before the engine is imported, which reads the bounds."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        def lower(kind: int, wanted: int) -> None:
            given = (bound for bound in resource.getrlimit(kind) if bound != resource.RLIM_INFINITY)
            bound = min((wanted, *given))
            with contextlib.suppress(ValueError, OSError):  # macOS takes no bound on address space
                resource.setrlimit(kind, (bound, bound))

        lower(resource.RLIMIT_AS, address_space)
        lower(resource.RLIMIT_CORE, 0)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + 1)  # in case our parent is gone


def _run(head: Mapping[str, object], source: BinaryIO) -> None:
    from fmedge.runtime.opening import open_for_trial

    card = ModelCard.from_json(str(head["card"]))
    content = source.read()
    split = len(content) - int(str(head["weights"]))
    artifact = Artifact(Path(str(head["path"])), card, content[:split], content[split:])
    with open_for_trial(artifact, str(head["backend"])) as session:
        images = _images(card)
        outputs = session.run(images)
    for spec in card.outputs:
        _require_output(artifact, spec, outputs[spec.name], len(images))


def _images(card: ModelCard) -> Images:
    """Images of noise as the model takes them; VGG16's own size where it leaves it open."""
    count, (height, width) = card.options.batch or 1, card.options.size or INPUT_SIZE
    noise = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return noise if card.options.input_dtype == "uint8" else noise.astype(np.float32)


def _require_output(artifact: Artifact, spec: TensorSpec, maps: FloatArray, count: int) -> None:
    """Check that an output, as (N, C, H, W), is what the card says."""
    extents = dict(zip(spec.layout, spec.shape, strict=True))
    wanted = (extents["N"] or count, extents["C"], extents["H"], extents["W"])
    fits = maps.ndim == 4 and all(want in (None, got) for want, got in zip(wanted, maps.shape, strict=True))
    if maps.dtype != np.float32 or not fits:
        raise ArtifactError(
            f"'{artifact.path.name}' computes {maps.dtype} {' x '.join(map(str, maps.shape))} for '{spec.name}', "
            f"its card says {spec.describe()}. Export it again: fmedge export."
        )
    if not np.isfinite(maps).all():
        raise ArtifactError(
            f"'{artifact.path.name}' computes NaN or infinity for '{spec.name}'. Export it again: fmedge export."
        )


if __name__ == "__main__":
    with own_process():
        main()
