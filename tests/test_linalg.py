# linalg and the top-level matrix functions: what defines each result, numpy's values, gradients to second order, errors.
import copy
import pickle

import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order
from under_test import IS_FIRESEED, lib, raises_with, tensor, to_numpy

linalg = lib.linalg
SHAPES = [(3, 3), (5, 3), (3, 5), (2, 3, 4, 4), (2, 5, 3), (1, 1), (0, 3, 3), (40, 33), (33, 40), (70, 70)]
SQUARES = [(3, 3), (1, 1), (2, 3, 4, 4), (0, 3, 3), (0, 0), (45, 45)]


def rand(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def spd(*shape):
    a = rand(*shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1]) * shape[-1]


def sym(*shape):
    a = rand(*shape)
    return a + a.swapaxes(-1, -2)


def close(got, want, tol=1e-9):
    got = to_numpy(got) if isinstance(got, lib.Tensor) else np.asarray(got)
    want = np.asarray(to_numpy(want) if isinstance(want, lib.Tensor) else want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol * max(1.0, np.abs(want).max(initial=0)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_factors_multiply_to_the_matrix(shape):
    a = rand(*shape)
    x = tensor(a)
    k = min(shape[-2:])
    p, low, up = linalg.lu(x)
    close(p @ low @ up, a)
    assert low.shape[-1] == up.shape[-2] == k
    lu, pivots, info = linalg.lu_factor_ex(x)
    assert pivots.dtype == info.dtype == lib.int32 and not info.any()
    for got, want in zip(lib.lu_unpack(lu, pivots), (p, low, up)):
        close(got, want)
    for q, r in (linalg.qr(x), lib.qr(x)):
        close(q @ r, a)
        close(q.mT @ q, np.broadcast_to(np.eye(k), (*shape[:-2], k, k)))
    q, r = linalg.qr(x, "complete")
    close(q @ r, a)
    assert q.shape[-1] == shape[-2]
    close(linalg.qr(x, "r").R, linalg.qr(x).R)
    u, s, vh = linalg.svd(x, full_matrices=False)
    close((u * s.unsqueeze(-2)) @ vh, a)
    close(linalg.svdvals(x), s)
    u, s, v = lib.svd(x)
    close((u * s.unsqueeze(-2)) @ v.mT, a)
    full = linalg.svd(x)
    assert full.U.shape[-1] == shape[-2] and full.Vh.shape[-2] == shape[-1]


@pytest.mark.parametrize("shape", SQUARES, ids=str)
def test_symmetric_factors(shape):
    a = tensor(spd(*shape))
    low = linalg.cholesky(a)
    close(low @ low.mT, a)
    close(linalg.cholesky(a, upper=True), low.mT)
    close(lib.cholesky(a), low)
    b = tensor(rand(*shape[:-1], 2))
    close(a @ lib.cholesky_solve(b, low), b)
    close(lib.cholesky_solve(b, low.mT, upper=True), lib.cholesky_solve(b, low))
    close(lib.cholesky_inverse(low), linalg.inv(a))
    m = tensor(sym(*shape))
    values, vectors = linalg.eigh(m)
    close((vectors * values.unsqueeze(-2)) @ vectors.mT, m)
    close(linalg.eigvalsh(m), values)
    factors, pivots = linalg.ldl_factor(m)
    close(m @ linalg.ldl_solve(factors, pivots, b), b, 1e-8)


@pytest.mark.parametrize("shape", SQUARES, ids=str)
def test_solving(shape):
    a, b = tensor(rand(*shape)), tensor(rand(*shape[:-1], 2, seed=1))
    close(a @ linalg.solve(a, b), b, 1e-8)
    close(linalg.solve(a, b.mT, left=False) @ a, b.mT, 1e-8)
    close(linalg.inv(a), np.linalg.inv(to_numpy(a)), 1e-8)
    result, info = linalg.solve_ex(a, b)
    close(a @ result, b, 1e-8)
    assert info.dtype == lib.int32 and info.shape == a.shape[:-2] and not info.any()
    n = shape[-1]
    one = lib.eye(n, dtype=a.dtype)
    for upper, left, unit in np.ndindex(2, 2, 2):
        t = a / (n + 1)
        t = (t.triu(1) if upper else t.tril(-1)) + (1 if unit else 3) * one
        c = b if left else b.mT
        given = t + (5 if unit else 0) * one  # unitriangular does not read the diagonal
        given = given + (a.tril(-1) if upper else a.triu(1))  # nor is the other triangle read
        x = linalg.solve_triangular(given, c, upper=bool(upper), left=bool(left), unitriangular=bool(unit))
        close(t @ x if left else x @ t, c)
    factors, pivots = linalg.lu_factor(a)
    for left, adjoint in np.ndindex(2, 2):
        m, c = (a.mT if adjoint else a), (b if left else b.mT)
        x = linalg.lu_solve(factors, pivots, c, left=bool(left), adjoint=bool(adjoint))
        close(m @ x if left else x @ m, c, 1e-8)
    close(lib.lu_solve(b, factors, pivots), linalg.solve(a, b), 1e-8)
    t = a / (n + 1) + 3 * one
    x, copy = lib.triangular_solve(b, t, transpose=True)
    close(t.triu().mT @ x, b)
    close(copy, t)


def test_batches_broadcast():
    a, b = tensor(rand(2, 1, 3, 3)), tensor(rand(4, 3, 2))
    assert linalg.solve(a, b).shape == (2, 4, 3, 2)
    assert linalg.solve_triangular(a, b, upper=True).shape == (2, 4, 3, 2)
    assert linalg.solve(a[0, 0], b[0, :, 0]).shape == (3,)
    close(linalg.solve(a[:, 0], tensor(rand(2, 3))), np.linalg.solve(rand(2, 1, 3, 3)[:, 0], rand(2, 3)[..., None])[..., 0])
    assert lib.cholesky_solve(b, tensor(spd(3, 3))).shape == (4, 3, 2)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 5, 3), (2, 3, 5)], ids=str)
def test_pseudoinverse_rank_least_squares(shape):
    a = rand(*shape)
    a[..., -1] = a[..., 0] + a[..., 1]
    x = tensor(a)
    close(linalg.pinv(x), np.linalg.pinv(a))
    close(lib.pinverse(x, 1e-12), np.linalg.pinv(a))
    assert (to_numpy(linalg.matrix_rank(x)) == np.linalg.matrix_rank(a)).all()
    assert linalg.matrix_rank(x, atol=1e9).sum() == 0
    b = tensor(rand(*shape[:-1], 2))
    for driver in ("gelsd", "gelss", "gelsy"):
        solution, residuals, rank, values = linalg.lstsq(x, b, driver=driver)
        close(solution, linalg.pinv(x) @ b, 1e-8)
        assert (to_numpy(rank) == np.linalg.matrix_rank(a)).all()
        assert values.numel() == (0 if driver == "gelsy" else np.linalg.svd(a, compute_uv=False).size)
    m = tensor(sym(4, 4))
    close(linalg.pinv(m, hermitian=True), linalg.inv(m), 1e-8)
    assert linalg.matrix_rank(m, hermitian=True).item() == 4


def test_least_squares_residuals():
    a, b = rand(6, 3), rand(6, 2)
    result = linalg.lstsq(tensor(a), tensor(b), driver="gels")
    want, squares, _, _ = np.linalg.lstsq(a, b, rcond=None)
    close(result.solution, want)
    close(result.residuals, squares)
    assert result.rank.numel() == result.singular_values.numel() == 0


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 5), (5, 3)], ids=str)
def test_norms_and_condition(shape):
    a = rand(*shape)
    x = tensor(a)
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        close(linalg.matrix_norm(x, order), np.linalg.norm(a, order, axis=(-2, -1)))
        close(linalg.matrix_norm(x, order, keepdim=True), np.linalg.norm(a, order, axis=(-2, -1), keepdims=True))
        close(linalg.norm(x, order, dim=(0, 1)), np.linalg.norm(a, order, axis=(0, 1)))
        if shape[-1] == shape[-2] or order in (2, -2):
            close(linalg.cond(x, order), np.linalg.cond(a, order))
    close(lib.norm(x, "nuc", dim=(0, -1)), np.linalg.norm(a, "nuc", axis=(0, -1)))


@pytest.mark.parametrize("scale", [1e-6, 0.3, 1.0, 30.0])
def test_matrix_exp(scale):
    a = rand(3, 5, 5) * scale
    values, vectors = np.linalg.eig(a)
    want = (vectors * np.exp(values)[:, None, :] @ np.linalg.inv(vectors)).real
    got = to_numpy(linalg.matrix_exp(tensor(a)))
    assert np.abs(got - want).max() <= 1e-9 * np.abs(want).max()
    close(tensor(a).matrix_exp(), got)


def test_products():
    a, b, c = rand(4, 3), rand(3, 5), rand(5, 2)
    close(linalg.multi_dot([tensor(a), tensor(b), tensor(c)]), a @ b @ c)
    close(lib.chain_matmul(tensor(a), tensor(b), tensor(c)), a @ b @ c)
    close(linalg.multi_dot([tensor(a[0]), tensor(b), tensor(c[:, 0])]), a[0] @ b @ c[:, 0])
    m = rand(2, 3, 3)
    for n in (-3, -1, 0, 1, 2, 7):
        close(linalg.matrix_power(tensor(m), n), np.linalg.matrix_power(m, n), 1e-7)
    close(linalg.vander(tensor(a), N=4), np.stack([np.vander(r, 4, increasing=True) for r in a]))
    close(linalg.vecdot(tensor(a), tensor(a[0])), (a * a[0]).sum(-1))
    t = rand(2, 3, 6)
    close(linalg.tensorinv(tensor(t)), np.linalg.tensorinv(t))
    t = rand(2, 3, 4, 6, 4).reshape(6, 4, 2, 3, 4)
    close(linalg.tensorsolve(tensor(t), tensor(rand(6, 4))), np.linalg.tensorsolve(t, rand(6, 4)), 1e-7)


def test_determinants():
    a = rand(3, 4, 4)
    sign, value = linalg.slogdet(tensor(a))
    close(linalg.det(tensor(a)), np.linalg.det(a))
    close(sign * value.exp(), np.linalg.det(a))
    got = to_numpy(lib.logdet(tensor(a)))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(got, np.log(np.linalg.det(a)))


def test_householder():
    a = rand(2, 6, 4)
    h, tau = lib.geqrf(tensor(a))
    q = linalg.householder_product(h, tau)
    close(q @ h[..., :4, :].triu(), a)
    close(lib.orgqr(h, tau), q)
    c = tensor(rand(2, 6, 6))
    whole = lib.ormqr(h, tau, lib.eye(6, dtype=c.dtype).expand(2, 6, 6))
    close(whole[..., :4], q)
    close(lib.ormqr(h, tau, c, transpose=True), whole.mT @ c)
    close(lib.ormqr(h, tau, c, left=False), c @ whole)


def test_low_rank():
    a = rand(30, 4) @ rand(4, 20)
    for x in (tensor(a), tensor(a.T)):
        u, s, v = lib.svd_lowrank(x, q=5)
        close((u * s) @ v.mT, x, 1e-8)
    u, s, v = lib.pca_lowrank(tensor(a), q=5)
    close((u * s) @ v.mT, a - a.mean(0), 1e-8)
    with pytest.raises(ValueError):
        lib.pca_lowrank(tensor(a), q=21)


A = rand(3, 3)
GRADIENTS = {
    "inv": (linalg.inv, A),
    "det": (linalg.det, rand(2, 3, 3)),
    "slogdet": (lambda x: linalg.slogdet(x)[1], A),
    "solve": (linalg.solve, A, rand(2, 3, 2)),
    "solve right": (lambda a, b: linalg.solve(a, b, left=False), A, rand(2, 3)),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, upper=False), A + 3 * np.eye(3), rand(3, 2)),
    "solve_triangular unit": (
        lambda a, b: linalg.solve_triangular(a, b, upper=True, left=False, unitriangular=True), A, rand(2, 3)),
    "cholesky": (lambda a: linalg.cholesky(a @ a.mT + 3 * lib.eye(3, dtype=a.dtype)), A),
    "cholesky_solve": (lambda b, a: lib.cholesky_solve(b, a.tril()), rand(3, 2), A + 3 * np.eye(3)),
    "lu square": (lambda a: linalg.lu(a)[1:], A),
    "lu tall": (lambda a: linalg.lu(a)[1:], rand(4, 3)),
    "lu wide": (lambda a: linalg.lu(a)[1:], rand(2, 3, 4)),
    "lu_solve": (lambda a, b: linalg.lu_solve(*linalg.lu_factor(a), b), A, rand(3, 2)),
    "qr square": (linalg.qr, A),
    "qr tall": (linalg.qr, rand(4, 2)),
    "qr wide": (linalg.qr, rand(2, 2, 4)),
    "qr complete": (lambda a: linalg.qr(a, "complete"), rand(2, 3)),
    "svd square": (lambda a: linalg.svd(a), A),
    "svd tall": (lambda a: linalg.svd(a, full_matrices=False), rand(4, 2)),
    "svd wide": (lambda a: linalg.svd(a, full_matrices=False), rand(2, 4)),
    "svdvals": (linalg.svdvals, rand(2, 3, 4)),
    "eigh": (lambda a: linalg.eigh(a + a.mT), A),
    "eigvalsh": (lambda a: linalg.eigvalsh(a + a.mT), A),
    "pinv tall": (linalg.pinv, rand(4, 2)),
    "pinv wide": (linalg.pinv, rand(2, 4)),
    "pinv of low rank": (lambda a, b: linalg.pinv(a @ b, rtol=1e-8), rand(4, 2), rand(2, 3)),
    "lstsq": (lambda a, b: linalg.lstsq(a, b)[0], rand(4, 2), rand(4, 2, seed=1)),
    "matrix_exp": (linalg.matrix_exp, A),
    "matrix_power": (lambda a: linalg.matrix_power(a, 3), A),
    "householder": (linalg.householder_product, rand(4, 2), rand(2)),
    "ormqr": (lib.ormqr, rand(4, 2), rand(2), rand(4, 3)),
    "norm 2": (lambda a: linalg.matrix_norm(a, 2), rand(2, 3, 4)),
    "norm nuc": (lambda a: linalg.matrix_norm(a, "nuc"), rand(3, 4)),
    "cond": (linalg.cond, A),
    "vander": (lambda a: linalg.vander(a, N=4), rand(3)),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name):
    f, *arrays = GRADIENTS[name]
    check_first_order(f, arrays, tol=20)
    check_second_order(f, arrays, tol=50)


@pytest.mark.parametrize("rank", [2, 1])
def test_gradient_of_det_of_singular_matrices(rank):
    a = rand(3, rank) @ rand(rank, 3, seed=1)
    x = tensor(a, requires_grad=True)
    linalg.det(x).backward()
    want = [[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(3)] for i in range(3)]
    close(x.grad, want, 1e-8)


def test_singular_and_indefinite_matrices():
    singular = tensor(np.array([[1.0, 2.0], [2.0, 4.0]]))
    for call in (lambda: linalg.inv(singular), lambda: linalg.solve(singular, singular),
                 lambda: linalg.cholesky(-singular), lambda: linalg.lu_factor(singular)):
        with pytest.raises(RuntimeError):
            call()
    batch = lib.stack([tensor(np.eye(2)), singular])
    assert linalg.inv_ex(batch).info.tolist() == [0, 2]
    assert linalg.solve_ex(batch, batch).info.tolist() == [0, 2]
    assert linalg.lu_factor_ex(batch).info.tolist() == [0, 2]
    assert linalg.cholesky_ex(lib.stack([batch[0], -batch[1]])).info.tolist() == [0, 1]
    close(linalg.inv_ex(batch).inverse[0], np.eye(2))
    assert linalg.cond(batch, 1).tolist() == [1.0, np.inf]
    if IS_FIRESEED:
        with raises_with(linalg.LinAlgError, "Batch element 1", "diagonal element 2"):
            linalg.inv(batch)
        with raises_with(linalg.LinAlgError, "leading minor of order 1"):
            linalg.cholesky(-singular)


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "cholesky", "eigh", "matrix_exp", "inv_ex", "ldl_factor"])
def test_square_is_checked(name):
    with raises_with(RuntimeError, name, "square", "2 by 3"):
        getattr(linalg, name)(tensor(rand(2, 3)))
    with raises_with(RuntimeError, name, "at least 2 dimensions"):
        getattr(linalg, name)(tensor(rand(3)))


@pytest.mark.parametrize("name", ["inv", "svd", "qr", "lu", "eigh", "pinv", "cholesky"])
def test_dtypes_are_checked(name):
    for dtype in ("int64", "float16"):
        with raises_with(RuntimeError, name, dtype):
            getattr(linalg, name)(tensor(np.eye(2), dtype))


def test_other_errors():
    x = tensor(rand(3, 3))
    with raises_with(RuntimeError, "UPLO", "x"):
        linalg.eigh(x, "x")
    with raises_with(RuntimeError, "driver"):
        linalg.lstsq(x, x, driver="x")
    with raises_with(RuntimeError, "Incompatible shapes", "3x3", "2x3"):
        linalg.solve(x, x[:2])
    with raises_with(RuntimeError, "N must be greater than 1"):
        linalg.vander(x, N=1)
    with raises_with(RuntimeError, "same dtype"):
        linalg.solve(x, x.float())
    with raises_with(RuntimeError, "Order 3 not supported"):
        linalg.matrix_norm(x, 3)
    with raises_with(RuntimeError, "complete"):
        y = tensor(rand(4, 2), requires_grad=True)
        linalg.qr(y, "complete").Q.sum().backward()
    if IS_FIRESEED:
        with raises_with(NotImplementedError, "complex", "eigh"):
            linalg.eig(x)


def test_out():
    x = tensor(spd(3, 3))
    out = lib.empty(0, dtype=x.dtype)
    assert linalg.inv(x, out=out) is out
    close(out, np.linalg.inv(to_numpy(x)))
    q, r = lib.empty(0, dtype=x.dtype), lib.empty(0, dtype=x.dtype)
    linalg.qr(x, out=(q, r))
    close(q @ r, x)
    with pytest.raises(RuntimeError):
        linalg.inv(x.requires_grad_(), out=out)


def test_methods_and_named_results():
    x = tensor(spd(3, 3))
    for name in ("cholesky", "inverse", "det", "logdet", "pinverse", "matrix_exp", "cholesky_inverse"):
        close(getattr(x, name)(), getattr(lib, name)(x))
    assert x.qr().Q.shape == x.svd().V.shape == (3, 3)
    assert x.slogdet().logabsdet.shape == ()
    assert linalg.lu_factor(x)._fields == ("LU", "pivots") if IS_FIRESEED else True
    for r in (copy.deepcopy(x.qr()), pickle.loads(pickle.dumps(x.qr())) if IS_FIRESEED else x.qr()):
        close(r.Q @ r.R, x)
    close(x.matrix_power(2), x @ x)
    close(x.triangular_solve(x)[0], lib.triangular_solve(x, x).solution)
    close(x.lu()[0], linalg.lu_factor(x).LU)
