"""Shorten vectors by a linear map: a PCA fitted on a sample, or a random projection; kept as a NumPy archive.

Run as a program, it is the process that computes the singular value decomposition of a PCA with one thread.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt

from fmedge.errors import ArtifactError, LimitExceeded, UsageError
from fmedge.system import children
from fmedge.system.memory import require_memory

Method = Literal["pca", "random"]

Vector = npt.NDArray[np.float32]

SEED = 20030601
"""Seed of random projections; part of what the data sets made with them are, and never changed."""

_BLOCK = 1 << 17
"""Products held at a time while a vector is shortened: 1 MB, which a core's cache holds."""

_FLOAT_BYTES = 8

_PROCESS_BYTES = 64 << 20
"""What a process with NumPy takes, and OpenBLAS for one thread, before any matrix: 30 MB and 32 MB."""

_MEMBERS: Mapping[str, str] = {
    "method": "<U6",
    "samples": "<i8",
    "explained_variance_ratio": "<f8",
    "offset": "<f8",
    "matrix": "<f4",
}
"""Arrays of the archive, in order, and their types. No offset is an empty one."""

_HEADER = re.compile(
    rb"\x93NUMPY\x01\0..\{'descr': '([<fiU\d]{3})', 'fortran_order': False, 'shape': \(([\d, ]{0,40})\), \} *\n",
    re.DOTALL,
)

_DAMAGES = (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, OverflowError, RuntimeError, ValueError)
"""What reading damaged bytes raises."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """A linear map that shortens vectors: ``matrix @ (vector - offset)``.

    Attributes:
        method: ``pca`` or ``random``.
        matrix: A row per value of the shortened vector: float32, (K, D).
        offset: What is subtracted first, the mean of a PCA's sample: float64, (D,); None for a random projection.
        samples: Vectors that it was fitted on; 0 for a random projection.
        explained_variance_ratio: Share of the sample's variance along each row, K in all, in decreasing order; empty
            for a random projection.
    """

    method: Method
    matrix: npt.NDArray[np.float32] = field(repr=False, compare=False)
    offset: npt.NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    samples: int = 0
    explained_variance_ratio: tuple[float, ...] = field(default=(), repr=False)

    def __call__(self, vector: Vector) -> Vector:
        """Return a vector of length D shortened to K values: float32.

        Products and sums are taken in float64 in a fixed order, without BLAS, so the result depends neither on other
        vectors nor on the number of threads. Before it is rounded to float32 it is within 1e-14 * sum(abs(matrix row *
        (vector - offset))) of the exact value.

        Raises:
            UsageError: The vector has another length.
        """
        length = self.matrix.shape[1]
        if vector.shape != (length,):
            raise UsageError(f"Vectors of length {length} can be shortened, not an array of shape {vector.shape}.")
        centred = vector.astype(np.float64) if self.offset is None else vector - self.offset
        rows = max(1, _BLOCK // length)
        blocks = [self.matrix[start : start + rows] for start in range(0, len(self.matrix), rows)]
        return np.concatenate([np.sum(block * centred, axis=1) for block in blocks]).astype(np.float32)

    def to_bytes(self) -> bytes:
        """Return it as a NumPy archive (.npz): equal values give equal bytes, with any version of NumPy.

        The archive holds the attributes as arrays of those names, uncompressed; ``numpy.load`` reads it.
        """
        offset = () if self.offset is None else self.offset
        stream = BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, kind in _MEMBERS.items():
                value = offset if name == "offset" else getattr(self, name)
                archive.writestr(_entry(name), _npy(np.asarray(value, kind)))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "reduction") -> Self:
        """Read what :meth:`to_bytes` wrote; nothing in it is run.

        Args:
            content: The bytes.
            name: What the message calls them.

        Raises:
            ArtifactError: The bytes are not exactly those that :meth:`to_bytes` writes for what they hold.
        """
        try:
            with zipfile.ZipFile(BytesIO(content)) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise ValueError("compressed")
                found = cls._from_arrays(
                    *[_array(archive.read(f"{each}.npy"), kind) for each, kind in _MEMBERS.items()]
                )
            if found.to_bytes() != content:
                raise ValueError("not as it was written")
        except _DAMAGES as error:
            raise ArtifactError(f"'{name}' is damaged: it cannot be read as a PCA or a random projection.") from error
        return found

    @classmethod
    def _from_arrays(cls, *arrays: npt.NDArray[Any]) -> Self:
        named, samples, ratios, offset, matrix = arrays
        method = str(named)
        is_pca = method == "pca"
        rows, length = matrix.shape
        if (
            method not in get_args(Method)
            or 0 in (rows, length)
            or offset.shape != (length * is_pca,)
            or ratios.shape != (rows * is_pca,)
            or not all(np.isfinite(values).all() for values in (ratios, offset, matrix))
        ):
            raise ValueError("no reduction")
        return cls(cast("Method", method), matrix, offset if is_pca else None, int(samples), tuple(map(float, ratios)))


def fit_pca(sample: npt.NDArray[np.floating], components: int) -> Reduction:
    """Fit a principal component analysis, exactly: the singular value decomposition of the centred sample, in float64.

    See K. Pearson, "On lines and planes of closest fit to systems of points in space", Philosophical Magazine 2, 1901,
    and I. T. Jolliffe, "Principal Component Analysis", 2nd edition, 2002, section 3.5. The values are those of
    scikit-learn's ``PCA(components, svd_solver="full")``, without whitening: the loading of largest absolute value is
    positive in each component (``svd_flip`` with ``u_based_decision=False``), the first one where several are equal to
    six digits. Two things differ. Components beyond the sample's rank, which nothing determines, are zero. The matrix
    is rounded to float32, which moves a projection by at most 2**-24 times the norm of the centred vector.

    The same sample gives the same bytes on one kind of processor with one version of NumPy and its BLAS, whatever the
    number of threads: the decomposition is computed by one thread, in a process of its own. On other processors the
    last bits may differ.

    Args:
        sample: Vectors: floats, (N, D).
        components: Components to keep, at most min(N, D).

    Raises:
        UsageError: The sample is not of that shape, is smaller or holds NaN or infinity.
        LimitExceeded: It does not fit into memory, by LAPACK's documented workspace of ``dgesdd`` and NumPy's copies,
            or the process cannot be started.
    """
    if sample.ndim != 2:
        raise UsageError(f"A PCA is fitted on vectors, (N, D), not on an array of shape {sample.shape}.")
    most = min(sample.shape)
    if not 1 <= components <= most:
        count, length = sample.shape
        raise UsageError(f"A PCA of {count} vectors of length {length} has 1 to {most} components, not {components}.")
    if not np.isfinite(sample).all():
        raise UsageError("The sample of a PCA holds NaN or infinity.")
    require_memory("The PCA", _needed_bytes(*sample.shape))
    first = sample[0].astype(np.float64)
    centred = np.subtract(sample, first, order="C")  # whatever is constant becomes zero, not rounding errors
    mean = centred.mean(axis=0)
    centred -= mean
    values, vectors = _decompose_apart(centred, components)
    variances = np.square(values)
    ranked = values[:components] > values[0] * max(sample.shape) * np.finfo(np.float64).eps  # as numpy's matrix_rank
    return Reduction(
        "pca",
        np.where(ranked[:, np.newaxis], _signed(vectors), 0).astype(np.float32),
        first + mean,
        len(sample),
        tuple(np.where(ranked, variances[:components] / (variances.sum() or 1), 0).tolist()),
    )


def random_projection(length: int, components: int) -> Reduction:
    """Return a random projection that keeps squared distances in expectation: entries +1 and -1, over sqrt(components).

    Squared distances among n vectors stay within a factor 1 ± e with a probability of at least 1 - n**-b where
    components >= (4 + 2 b) ln(n) / (e**2 / 2 - e**3 / 3): D. Achlioptas, "Database-friendly random projections:
    Johnson-Lindenstrauss with binary coins", Journal of Computer and System Sciences 66, 2003, theorem 1.1.

    The signs are bits of ``numpy.random.PCG64(SEED).random_raw``, whose stream NumPy guarantees: 1 is +1, each row
    starts with a new word, least significant bit first. They are the same with any version and on any processor, and
    fewer components have the signs of the first rows.

    Args:
        length: Values of a vector, D.
        components: Values of a shortened one, K.

    Raises:
        UsageError: The components are fewer than one or more than the values.
    """
    if not 1 <= components <= length:
        raise UsageError(f"A projection of vectors of length {length} has 1 to {length} values, not {components}.")
    words = np.random.PCG64(SEED).random_raw(components * -(-length // 64)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8).reshape(components, -1), axis=1, count=length, bitorder="little")
    scale = np.float32(1 / np.sqrt(components))
    return Reduction("random", np.where(bits, scale, -scale))


def _signed(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return vectors (K, D), each with the sign that makes its largest loading positive."""
    sizes = np.abs(vectors)
    places = np.argmax(sizes >= sizes.max(axis=1, keepdims=True) * (1 - 1e-6), axis=1, keepdims=True)
    return vectors * np.sign(np.take_along_axis(vectors, places, axis=1))


def _needed_bytes(count: int, length: int) -> int:
    """Return the most memory that a PCA takes at a time beside its sample, in bytes.

    These are the second process, three copies of the sample in both, two of either set of singular vectors, and the
    workspace of LAPACK's dgesdd with JOBZ = 'S', by its documentation at least 4 r**2 + 7 r numbers, r = min(M, N).
    """
    rank = min(count, length)
    return _PROCESS_BYTES + _FLOAT_BYTES * (3 * count * length + 2 * rank * (count + length) + 4 * rank**2 + 7 * rank)


def _decompose_apart(
    centred: npt.NDArray[np.float64], components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return all singular values of a matrix (N, D), and the first right singular vectors as rows, (components, D).

    Raises:
        LimitExceeded: The process that computes them cannot be started or ended early.
    """
    count, length = centred.shape
    process = children.start(
        [*children.module_command("fmedge.bulk.reduction"), *map(str, (count, length, components))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **dict.fromkeys(children.THREAD_VARIABLES, "1"), "PYTHONPATH": children.module_path()},
    )
    with process:
        try:
            answer = process.communicate(centred.data.cast("B"))[0]
        finally:
            children.end(process)
    if process.returncode:
        raise LimitExceeded(
            f"The process that fits the PCA ended with code {process.returncode}.",
            hint="Memory may be short: give a smaller sample, or pool to fewer values.",
        )
    numbers = np.frombuffer(answer)
    rank = min(count, length)
    return numbers[:rank], numbers[rank:].reshape(components, length)


def _answer(count: int, length: int, components: int) -> None:
    """Serve :func:`_decompose_apart`: a matrix comes on stdin, values and vectors go to stdout, all float64."""
    matrix = np.frombuffer(sys.stdin.buffer.read(count * length * _FLOAT_BYTES)).reshape(count, length)
    sys.stdout.buffer.writelines(found.tobytes() for found in _decompose(matrix, components))


def _decompose(
    matrix: npt.NDArray[np.float64], components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
    return values, vectors[:components]


def _entry(name: str) -> zipfile.ZipInfo:
    """Return the archive's entry of an array, without time or machine."""
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.create_system = 3
    entry.external_attr = 0o600 << 16
    return entry


def _npy(array: npt.NDArray[Any]) -> bytes:
    """Return an array in format 1.0 of numpy.lib.format, padded in one way: NumPy's padding depends on its version."""
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    size = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\0" + size.to_bytes(2, "little") + f"{text:<{size - 1}}\n".encode() + array.tobytes()


def _array(content: bytes, kind: str) -> npt.NDArray[Any]:
    """Return the array of that type that :func:`_npy` wrote, as a view.

    Raises:
        ValueError: It is none.
    """
    header = _HEADER.match(content)
    if header is None or header[1].decode() != kind:
        raise ValueError("no array")
    shape = tuple(int(word) for word in header[2].decode().split(",") if word.strip())
    return np.frombuffer(content, np.dtype(kind), offset=header.end()).reshape(shape)


if __name__ == "__main__":
    _answer(*map(int, sys.argv[1:]))
