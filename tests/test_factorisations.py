# Factorisations at sizes around their blocks, batches, singular matrices; products of halves at odd sizes.
import numpy as np
import pytest
from under_test import lib, to_numpy

SIZES = [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 130, 200]
BATCHES = [(), (3,), (2, 2)]


@pytest.mark.parametrize("dtype, tol", [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("batch", BATCHES)
def test_cholesky(n, batch, dtype, tol):
    z = np.random.default_rng(n).standard_normal((*batch, n, n))
    a = (z @ np.swapaxes(z, -1, -2) / n + np.eye(n)).astype(dtype)
    factor = to_numpy(lib.linalg.cholesky(lib.tensor(a)))
    assert not np.triu(factor, 1).any()
    np.testing.assert_allclose(factor, np.linalg.cholesky(a.astype("float64")), rtol=tol, atol=tol)


@pytest.mark.parametrize("dtype, tol", [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("batch", BATCHES)
def test_solve(n, batch, dtype, tol):
    rng = np.random.default_rng(n)
    a = rng.standard_normal((*batch, n, n)).astype(dtype)  # needs exchanges of rows
    for m in (1, 16, 40):
        b = rng.standard_normal((*batch, n, m)).astype(dtype)
        x = to_numpy(lib.linalg.solve(lib.tensor(a), lib.tensor(b))).astype("float64")
        residual = np.abs(a.astype("float64") @ x - b).max()
        assert residual <= tol * n * np.abs(a).max() * max(np.abs(x).max(), 1)


def test_solve_of_a_permutation():
    order = np.random.default_rng(0).permutation(50)
    b = np.arange(50, dtype=np.float32)
    np.testing.assert_array_equal(
        to_numpy(lib.linalg.solve(lib.tensor(np.eye(50, dtype=np.float32)[order]), lib.tensor(b[order]))), b
    )


def test_matrices_without_a_factor():
    singular = lib.ones(40, 40)
    with pytest.raises(RuntimeError, match="singular"):
        lib.linalg.solve(singular, lib.ones(40, 2))
    a = lib.eye(100)
    a[70, 70] = -1.0
    with pytest.raises(RuntimeError, match="leading minor of order 71"):
        lib.linalg.cholesky(a)


@pytest.mark.parametrize("dtype, unit", [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
@pytest.mark.parametrize(
    "m, n, k", [(17, 17, 2), (33, 50, 65), (100, 17, 31), (64, 64, 1), (40, 70, 1001), (20, 33, 2001)]
)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
def test_products_of_halves(m, n, k, layout, dtype, unit):
    """Sums in float32, rounded once: packed in pairs along K, whatever the layout."""
    rng = np.random.default_rng(k)
    kind = getattr(lib, dtype)
    make = lambda rows, cols, turned: (  # noqa: E731
        lib.tensor(rng.standard_normal((cols, rows)).astype(np.float32)).to(kind).t()
        if turned
        else lib.tensor(rng.standard_normal((rows, cols)).astype(np.float32)).to(kind)
    )
    a, b = make(m, k, layout[0] == "T"), make(k, n, layout[1] == "T")
    bias = lib.tensor(rng.standard_normal(n).astype(np.float32)).to(kind)
    wide = [to_numpy(x.to(lib.float64)) for x in (a, b, bias)]
    expected = wide[0] @ wide[1]
    size = np.abs(wide[0]) @ np.abs(wide[1])
    for got, want in ((a @ b, expected), (lib.addmm(bias, a, b), expected + wide[2])):
        assert got.dtype == kind
        error = np.abs(to_numpy(got.to(lib.float64)) - want)
        assert (error <= unit * np.abs(want) + 1e-5 * size + unit * 1e-3).all()
