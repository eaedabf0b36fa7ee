"""Shortening vectors: PCA against plain NumPy and scikit-learn, random projections against their bounds."""

import hashlib
import io
import sys
from functools import cache

import numpy as np
import pytest

from fmedge.bulk import reduction
from fmedge.bulk.reduction import Reduction, fit_pca, random_projection
from fmedge.errors import ArtifactError, LimitExceeded, UsageError
from fmedge.system import children, memory


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def dead_channels():
    sample = normal(60, 40) + 3
    sample[:, 5:15] = 0
    sample[:, 20:25] = 12345.678
    return sample


def of_rank_six():
    numbers = np.random.default_rng(1).integers(-4, 5, (80, 6)), np.random.default_rng(2).integers(-4, 5, (6, 30))
    return (numbers[0] @ numbers[1]).astype(np.float32)


SAMPLES = {
    "N > D": (lambda: normal(120, 24) @ normal(24, 24, seed=1) + 2, 10, 10),
    "N < D": (lambda: np.maximum(normal(20, 90), 0), 20, 19),
    "constant columns": (dead_channels, 20, 20),
    "rank 6": (of_rank_six, 12, 6),
}
"""What makes each sample, how many components are asked for, and how many are determined by it."""


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """A process takes half a second to start: only the tests of that start one."""
    if not request.node.name.startswith("test_process"):
        monkeypatch.setattr(reduction, "_decompose_apart", reduction._decompose)


@cache
def fitted(name):
    make, components, _ = SAMPLES[name]
    return fit_pca(make(), components)


def projections(short, vectors):
    return np.stack([short(vector) for vector in vectors])


def assert_close(found, expected):
    """Equal within a millionth of the largest."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def reference(sample, components):
    """Directions and shares of variance by the eigenvectors of the covariance."""
    values, vectors = np.linalg.eigh(np.cov(sample.astype(np.float64), rowvar=False))
    directions = vectors[:, ::-1].T[:components]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return directions * np.sign(largest), values[::-1][:components] / values.sum()


@pytest.mark.parametrize("name", SAMPLES)
def test_pca_is_that_of_the_covariance(name):
    make, components, rank = SAMPLES[name]
    sample, short = make(), fitted(name)
    directions, shares = reference(sample, components)
    mean = sample.mean(axis=0, dtype=np.float64)
    for vectors in (
        sample,
        mean.astype(np.float32) + normal(5, sample.shape[1], seed=9),
    ):  # also such as it has not seen
        expected = (vectors - mean) @ directions[:rank].T
        assert_close(projections(short, vectors)[:, :rank], expected)
    np.testing.assert_allclose(short.explained_variance_ratio, shares, atol=1e-12)
    np.testing.assert_allclose(short.offset, mean, rtol=1e-12)
    assert not short.matrix[rank:].any()
    assert not any(short.explained_variance_ratio[rank:])
    assert (short.method, short.samples, short.matrix.dtype) == ("pca", len(sample), np.float32)


@pytest.mark.parametrize("name", SAMPLES)
def test_pca_is_scikit_learns(name):
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    make, components, rank = SAMPLES[name]
    sample, short = make(), fitted(name)
    theirs = decomposition.PCA(components, svd_solver="full").fit(sample.astype(np.float64))
    assert_close(projections(short, sample), theirs.transform(sample.astype(np.float64)))
    np.testing.assert_allclose(short.matrix[:rank], theirs.components_[:rank], atol=1e-7)
    np.testing.assert_allclose(short.explained_variance_ratio, theirs.explained_variance_ratio_, atol=1e-12)


def test_equal_vectors_have_no_direction():
    short = fit_pca(np.full((4, 3), 0.1, np.float32), 2)
    assert short.explained_variance_ratio == (0, 0)
    assert not short(np.array([5, 6, 7], np.float32)).any()


def test_sign_does_not_hang_on_rounding():
    """Two equal loadings: the first one is positive."""
    sample = np.array([[0, 0], [3, -3], [-1, 1], [4, -4]], np.float32)
    np.testing.assert_allclose(fit_pca(sample, 1).matrix, [[0.5**0.5, -(0.5**0.5)]], rtol=1e-6)


def test_process_takes_one_thread(monkeypatch):
    """With two threads OpenBLAS sums in another order, and the last bits differ."""
    sample = normal(300, 512).astype(np.float64)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
        found.append(reduction._decompose_apart(sample, 32))
    for one, two, here in zip(*found, reduction._decompose(sample, 32), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(np.abs(one), np.abs(here), atol=1e-9)


def test_layout_in_memory_does_not_show():
    sample = normal(50, 30)
    assert fit_pca(np.asfortranarray(sample), 3).to_bytes() == fit_pca(sample, 3).to_bytes()


def test_value_is_that_of_one_vector_in_float64():
    short = random_projection(9000, 40)  # several blocks
    vector = normal(9000)
    exact = short.matrix.astype(np.longdouble) @ vector.astype(np.longdouble)
    np.testing.assert_allclose(short(vector), exact.astype(np.float32), rtol=2**-23)
    assert short(vector).dtype == np.float32


@pytest.mark.parametrize(
    ("sample", "components", "said"),
    [
        (normal(5, 8), 6, "1 to 5 components, not 6"),
        (normal(8, 5), 6, "1 to 5 components, not 6"),
        (normal(8, 5), 0, "not 0"),
        (normal(0, 5), 1, "not 1"),
        (normal(8), 1, r"shape \(8,\)"),
        (np.array([[1, np.nan], [1, 2]], np.float32), 1, "NaN"),
        (np.array([[1, np.inf], [1, 2]], np.float32), 1, "infinity"),
    ],
)
def test_samples_without_a_pca(sample, components, said):
    with pytest.raises(UsageError, match=said):
        fit_pca(sample, components)


def test_sample_too_large_for_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 65 << 20)
    with pytest.raises(LimitExceeded, match=r"The PCA needs about .* 68"):
        fit_pca(np.zeros((1000, 100), np.float32), 1)


def test_process_that_ends_early(monkeypatch):
    monkeypatch.setattr(children, "module_command", lambda _: [sys.executable, "-S", "-c", "raise SystemExit(3)"])
    with pytest.raises(LimitExceeded, match="code 3"):
        fit_pca(normal(300, 100), 2)


def test_random_projection_keeps_distances():
    """Theorem 1.1 of Achlioptas with b = 1 and e = 0.5: 216 values for 20 vectors."""
    vectors = np.maximum(normal(20, 1000), 0)
    short = random_projection(1000, 216)
    assert 6 * np.log(20) / (0.5**2 / 2 - 0.5**3 / 3) <= 216
    before, after = (
        np.square(each[:, None] - each[None]).sum(-1)[np.triu_indices(20, 1)]
        for each in (vectors, projections(short, vectors))
    )
    ratios = after / before
    assert ratios.min() > 0.5
    assert ratios.max() < 1.5
    assert ratios.mean() == pytest.approx(1, abs=3 * (2 / 216) ** 0.5)


def test_random_signs_are_fair_and_independent():
    signs = np.sign(random_projection(1000, 200).matrix)
    assert abs(signs.mean()) < 4 / 200_000**0.5
    between = signs @ signs.T / 1000 - np.eye(200)
    assert np.abs(between).max() < 6 / 1000**0.5


def test_random_projection_is_the_same_everywhere():
    """The numbers belong to the data sets made with them: no version of NumPy and no processor changes them."""
    short = random_projection(100, 8)
    assert hashlib.sha256(short.to_bytes()).hexdigest() == (
        "bce76e84f74431a46318e58db6c0e930e84a1d36e7ac6710ce076cdeab69697b"
    )
    np.testing.assert_array_equal(np.sign(random_projection(100, 3).matrix), np.sign(short.matrix[:3]))
    np.testing.assert_array_equal(np.sign(random_projection(70, 8).matrix), np.sign(short.matrix[:, :70]))
    assert (short.offset, short.samples, short.explained_variance_ratio) == (None, 0, ())


@pytest.mark.parametrize(("length", "components"), [(10, 0), (10, 11), (0, 1)])
def test_what_is_no_projection(length, components):
    with pytest.raises(UsageError, match=f"not {components}"):
        random_projection(length, components)


@pytest.mark.parametrize("shape", [(9,), (11,), (1, 10), ()])
def test_vectors_of_another_length(shape):
    with pytest.raises(UsageError, match="length 10"):
        random_projection(10, 2)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("make", [lambda: fitted("N > D"), lambda: random_projection(70, 5)], ids=["pca", "random"])
def test_round_trip(make):
    short = make()
    content = short.to_bytes()
    again = Reduction.from_bytes(content)
    assert again == short
    assert again.to_bytes() == content
    np.testing.assert_array_equal(again.matrix, short.matrix)
    vector = normal(short.matrix.shape[1])
    np.testing.assert_array_equal(again(vector), short(vector))
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["matrix"], short.matrix)
        assert str(archive["method"]) == short.method
        assert archive["offset"].size == (0 if short.offset is None else short.offset.size)
    assert "array" not in repr(short)


def test_damaged_bytes():
    """A byte changed, an end missing, something before or after it."""
    content = fit_pca(normal(5, 4), 2).to_bytes()
    damaged = [
        content[:place] + bytes([content[place] ^ 0x11]) + content[place + 1 :] for place in range(0, len(content), 3)
    ]
    damaged += [content[:size] for size in range(0, len(content), 19)]
    damaged += [content + b"\0", b"\0" + content, b"PK\5\6" + bytes(18)]
    for each in damaged:
        with pytest.raises(ArtifactError, match=r"'reduction-0.npz' is damaged"):
            Reduction.from_bytes(each, "reduction-0.npz")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"matrix": np.array([object()])},
        {"matrix": normal(4)},
        {"matrix": normal(2, 5)},
        {"matrix": normal(2, 4).astype(np.float64)},
        {"matrix": np.full((2, 4), np.nan, np.float32)},
        {"offset": np.zeros(0)},
        {"method": np.array("random")},
        {"method": np.array("other!")},
    ],
)
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_archives_of_something_else(members, write):
    plain = {
        "method": np.array("pca", "<U6"),
        "samples": np.array(5),
        "explained_variance_ratio": np.zeros(2),
        "offset": np.zeros(4),
        "matrix": normal(2, 4),
    }
    stream = io.BytesIO()
    write(stream, **({**plain, **members} if members else {}))
    with pytest.raises(ArtifactError):
        Reduction.from_bytes(stream.getvalue())
