"""What LAPACK has and numpy does not offer, on numpy arrays of shape (batch, m, n): triangular solves, LU, LDL, exp.

All but LDL work on the whole batch at once; the recursions over blocks leave most of the work to numpy's matmul.
"""
import math

import numpy as np

BLOCK = 32  # columns below which a loop over columns costs less than more recursion


def flat(a):
    """A row-major copy of (..., m, n) as (batch, m, n)."""
    return np.array(a, order="C").reshape(math.prod(a.shape[:-2]), *a.shape[-2:])


def solve_triangular(a, b, upper, unit):
    """x (..., n, k) with tri(a) x = b by substitution; a zero on the diagonal gives inf and nan, as in LAPACK."""
    if upper:  # in the opposite order of rows and columns it is lower
        return solve_triangular(a[..., ::-1, ::-1], b[..., ::-1, :], False, unit)[..., ::-1, :]
    x = np.array(b, order="C")
    with np.errstate(all="ignore"):
        _forward(a, x, unit)
    return x


def _forward(a, x, unit):
    n = a.shape[-1]
    if n > BLOCK:
        half = n // 2
        _forward(a[..., :half, :half], x[..., :half, :], unit)
        x[..., half:, :] -= a[..., half:, :half] @ x[..., :half, :]
        _forward(a[..., half:, half:], x[..., half:, :], unit)
        return
    for i in range(n):
        if i:
            x[..., i, :] -= (a[..., i:i + 1, :i] @ x[..., :i, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]


def lu(a):
    """(packed L and U, LAPACK's pivots counted from 1, info) of a (batch, m, n) with partial pivoting.

    info is the number of the first zero on U's diagonal, 0 where there is none.
    """
    x = flat(a)
    n, k = x.shape[-1], min(x.shape[1:])
    batch = np.arange(len(x))
    pivots = np.empty((len(x), k), np.int32)

    def factor(low, high):
        if high - low > BLOCK:
            half = (low + high) // 2
            factor(low, half)
            solve_rows(low, half, half, high)
            x[:, half:, half:high] -= x[:, half:, low:half] @ x[:, low:half, half:high]
            factor(half, high)
            return
        for j in range(low, high):
            p = j + np.abs(x[:, j:, j]).argmax(1)
            pivots[:, j] = p + 1
            x[batch, j], x[batch, p] = x[batch, p], x[batch, j]
            pivot = x[:, j, j, None]
            x[:, j + 1:, j] /= np.where(pivot == 0, 1, pivot)
            x[:, j + 1:, j + 1:high] -= x[:, j + 1:, j, None] * x[:, j, None, j + 1:high]

    def solve_rows(low, high, first, last):  # rows of U right of a finished block
        _forward(x[:, low:high, low:high], x[:, low:high, first:last], True)

    with np.errstate(all="ignore"):
        if len(x):
            factor(0, k)
            solve_rows(0, k, k, n)
    zero = np.diagonal(x, axis1=1, axis2=2) == 0
    info = np.where(zero.any(1), zero.argmax(1) + 1, 0).astype(np.int32) if k else np.zeros(len(x), np.int32)
    shape = a.shape[:-2]
    return x.reshape(a.shape), pivots.reshape(*shape, k), info.reshape(shape)


def permutation(pivots, m):
    """Row order (..., m) that LAPACK's pivots (..., k), counted from 1, stand for: A[order] = L U."""
    swaps = pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1]) - 1
    order = np.tile(np.arange(m), (len(swaps), 1))
    batch = np.arange(len(swaps))
    for j in range(swaps.shape[1]):
        p = swaps[:, j]
        order[batch, j], order[batch, p] = order[batch, p], order[batch, j]
    return order.reshape(*pivots.shape[:-1], m)


def cholesky_ex(a):
    """(L, info) of a (batch, n, n), column by column: info is the order of the first minor that is not positive."""
    x = np.tril(flat(a))
    info = np.zeros(len(x), np.int32)
    with np.errstate(all="ignore"):
        for j in range(x.shape[-1]):
            rest = x[:, j:, j] - (x[:, j:, :j] @ x[:, j, :j, None])[..., 0]
            good = (info == 0) & (rest[:, 0] > 0)
            column = rest / np.sqrt(rest[:, :1])
            x[good, j:, j] = column[good]
            failed = (info == 0) & ~good
            x[failed, j, j] = rest[failed, 0]
            info[failed] = j + 1
    return x.reshape(a.shape), info.reshape(a.shape[:-2])


def ldl(a):
    """(packed L and D, pivots, info) of symmetric (batch, n, n) from the lower triangle, as LAPACK's sytf2 packs them.

    Bunch and Kaufman's diagonal pivoting: a 2 x 2 block of D shows as two equal negative pivots.
    """
    x = np.tril(flat(a))
    pivots = np.zeros(x.shape[:2], np.int32)
    info = np.zeros(len(x), np.int32)
    for b in range(len(x)):
        info[b] = _ldl_one(x[b], pivots[b])
    return x.reshape(a.shape), pivots.reshape(a.shape[:-1]), info.reshape(a.shape[:-2])


def _ldl_one(x, pivots):
    n, info, k = len(x), 0, 0
    alpha = (1 + math.sqrt(17)) / 8
    while k < n:
        step, p = 1, k
        here = abs(x[k, k])
        r = k + 1 + int(np.abs(x[k + 1:, k]).argmax()) if k + 1 < n else k
        below = abs(x[r, k]) if r > k else 0.0
        if max(here, below) == 0 or np.isnan(here):
            info = info or k + 1
        else:
            if here < alpha * below:
                row = max(np.abs(x[r, k:r]).max(initial=0), np.abs(x[r + 1:, r]).max(initial=0))
                if here < alpha * below * (below / row):
                    p = r
                    if abs(x[r, r]) < alpha * row:
                        step = 2
            q = k + step - 1
            if p != q:  # swap rows and columns q and p of the part that is left
                x[p + 1:, [q, p]] = x[p + 1:, [p, q]]
                middle = x[q + 1:p, q].copy()
                x[q + 1:p, q] = x[p, q + 1:p]
                x[p, q + 1:p] = middle
                x[[q, p], [q, p]] = x[[p, q], [p, q]]
                if step == 2:
                    x[[q, p], k] = x[[p, q], k]
            rest = slice(k + step, n)
            block = x[k:k + step, k:k + step]
            if step == 2:
                block = np.array([[block[0, 0], block[1, 0]], [block[1, 0], block[1, 1]]])
            w = np.linalg.solve(block.astype(np.float64), x[rest, k:k + step].T.astype(np.float64)).T.astype(x.dtype)
            x[rest, rest] -= np.tril(w @ x[rest, k:k + step].T)
            x[rest, k:k + step] = w
        pivots[k:k + step] = p + 1 if step == 1 else -(p + 1)
        k += step
    return info


def ldl_solve(x, pivots, b):
    """y (..., n, k) with A y = b, for A's packed factors (..., n, n) and pivots (..., n)."""
    y = flat(b)
    with np.errstate(all="ignore"):
        for factors, swaps, rhs in zip(flat(x), flat(pivots[..., None])[..., 0], y):
            _ldl_solve_one(factors, swaps, rhs)
    return y.reshape(b.shape)


def _ldl_solve_one(x, pivots, y):
    n, k, blocks = len(x), 0, []
    while k < n:
        step = 1 if pivots[k] > 0 else 2
        q, p = k + step - 1, abs(int(pivots[k])) - 1
        if p != q:
            y[[q, p]] = y[[p, q]]
        y[k + step:] -= x[k + step:, k:k + step] @ y[k:k + step]
        if step == 1:
            y[k] /= x[k, k]
        else:
            a, b, c = x[k, k], x[k + 1, k], x[k + 1, k + 1]
            first, second = y[k].copy(), y[k + 1].copy()
            det = a * c - b * b
            y[k], y[k + 1] = (c * first - b * second) / det, (a * second - b * first) / det
        blocks.append((k, step, q, p))
        k += step
    for k, step, q, p in reversed(blocks):
        y[k:k + step] -= x[k + step:, k:k + step].T @ y[k + step:]
        if p != q:
            y[[q, p]] = y[[p, q]]


def matrix_exp(a):
    """exp of (batch, n, n) in float64: Pade approximant of order 13 with scaling and squaring (Higham, 2005)."""
    n = a.shape[-1]
    x = flat(a).astype(np.float64)
    norm = np.abs(x).sum(1).max(1, initial=0)
    with np.errstate(all="ignore"):
        squarings = np.where(np.isfinite(norm), np.maximum(0, np.ceil(np.log2(norm / 5.371920351148152))), 0).astype(int)
    x /= 2.0 ** squarings[:, None, None]
    c = [64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
         670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1]
    one = np.eye(n)
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x2 @ x4
    u = x @ (x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * one)
    v = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * one
    bad = ~np.isfinite(norm)
    v[bad], u[bad] = one, np.nan
    y = np.linalg.solve(v - u, v + u)
    for i in range(int(squarings.max(initial=0))):
        y = np.where((squarings > i)[:, None, None], y @ y, y)
    return y.reshape(a.shape)
