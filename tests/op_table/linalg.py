# Rows of matrix products of every rank and small linear algebra.
import math

import numpy as np

from .core import E, S, row, t

WIDE = ("float64", "float32")
INTS = ("float64", "float32", "float16", "bfloat16", "int64", "int32")
SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((2, 1, 2, 3), (4, 3, 2)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((1, 1), (1, 1)),
    ((5, 0, 3), (5, 3, 4)),
    ((3, 1, 4), (3, 4, 1)),
]
row(
    "matmul",
    np.matmul,
    [S(t(*a), t(*c)) for a, c in SHAPES],
    dtypes=INTS,
    method=True,
    also="Tensor.__matmul__ linalg.matmul",
    tol=2,
    big=S(t(97, 210), t(210, 131)),
    errors=[
        E(RuntimeError, ("matmul", "2", "3", "4"), t(2, 3), t(4, 2)),
        E(RuntimeError, "matmul", t(), t(3)),
        E(RuntimeError, ("matmul", "3", "4"), t(3), t(4)),
        E(RuntimeError, ("matmul", "2", "3"), t(2, 2, 3), t(3, 3, 3)),
    ],
)
row("Tensor.__rmatmul__", lambda y, x: x @ y, [S(t(3, 4), t(2, 3))], tol=2)
for m, k, n in [
    (17, 65, 33),
    (64, 64, 64),
    (1, 300, 7),
    (130, 2, 70),
    (7, 129, 1),
    (100, 100, 1),
    (33, 1, 35),
]:
    row("matmul", np.matmul, [S(t(m, k), t(k, n))], grad=1, tol=8, big=S(t(m * 3, k), t(k, n * 2)))
row("matmul", np.matmul, [S(t(6, 5, 20), t(6, 20, 9))], grad=1, tol=4, big=S(t(40, 33, 50), t(40, 50, 34)))
row(
    "mm",
    np.matmul,
    [S(t(2, 3), t(3, 4)), S(t(0, 3), t(3, 4)), S(t(2, 0), t(0, 4))],
    dtypes=INTS,
    method=True,
    tol=2,
    errors=[E(RuntimeError, ("mm", "2", "3", "4"), t(2, 3), t(4, 2)), E(RuntimeError, "mm", t(3), t(3, 4))],
)
row(
    "bmm",
    np.matmul,
    [S(t(5, 2, 3), t(5, 3, 4)), S(t(0, 2, 3), t(0, 3, 4))],
    dtypes=INTS,
    method=True,
    tol=2,
    big=S(t(20, 40, 50), t(20, 50, 41)),
    errors=[
        E(RuntimeError, ("bmm", "5", "4"), t(5, 2, 3), t(4, 3, 2)),
        E(RuntimeError, "bmm", t(2, 3), t(3, 4)),
    ],
)
row(
    "mv",
    np.matmul,
    [S(t(2, 3), t(3))],
    dtypes=INTS,
    method=True,
    tol=2,
    errors=[E(RuntimeError, ("mv", "3", "4"), t(2, 3), t(4))],
)
row(
    "dot",
    np.dot,
    [S(t(3), t(3)), S(t(0), t(0)), S(t(100), t(100))],
    dtypes=INTS,
    method=True,
    tol=4,
    also="inner vdot",
    errors=[E(RuntimeError, ("dot", "3", "4"), t(3), t(4)), E(RuntimeError, "dot", t(2, 3), t(3))],
)
row("inner", np.inner, [S(t(2, 3), t(4, 3)), S(t(3), t(2, 3))], method=True, tol=2)
row(
    "outer",
    np.outer,
    [S(t(3), t(4))],
    dtypes=INTS,
    method=True,
    also="ger",
    errors=[E(RuntimeError, "outer", t(2, 3), t(3))],
)
row(
    "addmm",
    lambda x, a, c, beta=1, alpha=1: beta * x + alpha * (a @ c),
    [
        S(t(2, 4), t(2, 3), t(3, 4)),
        S(t(4), t(2, 3), t(3, 4), beta=0.5, alpha=2.0),
        S(t(), t(2, 3), t(3, 4)),
        S(t(2, 1), t(2, 3), t(3, 4)),
    ],
    method=True,
    tol=3,
    errors=[E(RuntimeError, ("addmm", "3", "5"), t(2, 4), t(2, 3), t(5, 4))],
)
row(
    "addmv",
    lambda x, a, v, beta=1, alpha=1: beta * x + alpha * (a @ v),
    [S(t(2), t(2, 3), t(3)), S(t(), t(2, 3), t(3), beta=2, alpha=0.5)],
    method=True,
    tol=3,
)
row(
    "addr",
    lambda x, v, w, beta=1, alpha=1: beta * x + alpha * np.outer(v, w),
    [S(t(2, 3), t(2), t(3)), S(t(3), t(2), t(3), beta=0.5, alpha=2)],
    method=True,
    tol=3,
)
row(
    "baddbmm",
    lambda x, a, c, beta=1, alpha=1: beta * x + alpha * (a @ c),
    [S(t(5, 2, 4), t(5, 2, 3), t(5, 3, 4)), S(t(4), t(5, 2, 3), t(5, 3, 4), beta=0.5, alpha=2)],
    method=True,
    tol=3,
)
row(
    "addbmm",
    lambda x, a, c, beta=1, alpha=1: beta * x + alpha * (a @ c).sum(0),
    [S(t(2, 4), t(5, 2, 3), t(5, 3, 4), beta=0.5)],
    method=True,
    tol=4,
)
row(
    "nn.functional.linear",
    lambda x, w, bias=None: x @ w.T + (0 if bias is None else bias),
    [
        S(t(2, 3), t(4, 3), t(4)),
        S(t(2, 3), t(4, 3)),
        S(t(3), t(4, 3), t(4)),
        S(t(5, 2, 3), t(4, 3), t(4)),
        S(t(0, 3), t(4, 3), t(4)),
        S(t(2, 3), t(3), t()),
    ][:5],
    tol=3,
    big=S(t(97, 210), t(131, 210), t(131)),
    covers="addmm",
    errors=[
        E(RuntimeError, ("linear", "3", "4"), t(2, 4), t(5, 3)),
        E(RuntimeError, ("linear", "5"), t(2, 3), t(4, 3), t(5)),
    ],
)
row(
    "nn.functional.bilinear",
    lambda x, y, w, c: np.einsum("bi,oij,bj->bo", x, w, y) + c,
    [S(t(2, 3), t(2, 4), t(5, 3, 4), t(5))],
    tol=4,
)
row(
    "tensordot",
    lambda x, y, dims: np.tensordot(x, y, dims),
    [S(t(2, 3, 4), t(3, 4, 5), dims=2), S(t(2, 3, 4), t(5, 3), dims=([1], [1])), S(t(2), t(3), dims=0)],
    tol=3,
)
EINSUM = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("ij->ji", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("ij->", (2, 3)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 4)),
    ("bhid,bhjd->bhij", (1, 2, 3, 2), (1, 2, 4, 2)),
    ("ij,jk", (2, 3), (3, 2)),
    ("ij,j,k->ik", (2, 3), (3,), (2,)),
]
row(
    "einsum",
    lambda eq, *xs: np.einsum(eq, *xs),
    [S(eq, *[t(*s) for s in shapes]) for eq, *shapes in EINSUM],
    tol=3,
    errors=[E(RuntimeError, ("einsum",), "ij,jk->ik", t(2, 3), t(4, 2))],
)
row(
    "trace",
    np.trace,
    [S(t(3, 3)), S(t(2, 4))],
    method=True,
    dtypes=("float64", "float32", "int64"),
    out="sum",
    errors=[E(RuntimeError, "trace", t(3))],
)
row("kron", np.kron, [S(t(2, 3), t(3, 2)), S(t(2), t(3))], method=True)
row(
    "cross",
    lambda x, y, dim=-1: np.cross(x, y, axis=dim),
    [S(t(4, 3), t(4, 3), dim=1), S(t(3, 2), t(3, 2), dim=0)],
    method=True,
    also="linalg.cross",
)
row(
    "cdist",
    lambda x, y, p=2.0: (np.abs(x[..., :, None, :] - y[..., None, :, :]) ** p).sum(-1) ** (1 / p),
    [S(t(3, 4), t(2, 4)), S(t(2, 3, 2), t(2, 4, 2), p=1.0)],
    dtypes=WIDE,
    tol=4,
    gtol=4,
    grad=1,
)
SPD = {"fill": [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]}
row("linalg.inv", np.linalg.inv, [S(t(3, 3, **SPD))], dtypes=WIDE, tol=10, also="inverse", grad=1)
row("linalg.det", np.linalg.det, [S(t(3, 3, **SPD))], dtypes=WIDE, tol=10, also="det", grad=1)
row(
    "linalg.solve",
    lambda a, y: np.linalg.solve(a, y),
    [S(t(3, 3, **SPD), t(3, 2))],
    dtypes=WIDE,
    tol=10,
    grad=1,
)
row("linalg.cholesky", np.linalg.cholesky, [S(t(3, 3, grad=False, **SPD))], dtypes=WIDE, tol=10, grad=0)
row("logdet", lambda a: np.linalg.slogdet(a)[1], [S(t(3, 3, **SPD))], dtypes=WIDE, tol=10, method=True)
row("linalg.matrix_power", np.linalg.matrix_power, [S(t(2, 3, 3), 3), S(t(3, 3), 0)], dtypes=WIDE, tol=10, also="matrix_power")
row(
    "linalg.pinv",
    np.linalg.pinv,
    [S(t(4, 2)), S(t(2, 2, 4)), S(t(0, 3))],
    dtypes=WIDE,
    tol=20,
    gtol=20,
    errors=[E(RuntimeError, ("linalg.pinv", "2 dimensions"), t(3))],
)
row(
    "linalg.svdvals",
    lambda a: np.linalg.svd(a, compute_uv=False),
    [S(t(4, 2)), S(t(2, 2, 4)), S(t(3, 0))],
    dtypes=WIDE,
    tol=10,
    gtol=10,
    errors=[E(RuntimeError, ("linalg.svdvals", "2 dimensions"), t(3))],
)
row(
    "linalg.matrix_norm",
    lambda a, order="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(a, order, tuple(dim), keepdim),
    [S(t(3, 4), p, keepdim=keep) for p in ("nuc", 2, -2, 1, -np.inf) for keep in (False, True)]
    + [S(t(3, 4)), S(t(2, 3, 4), "nuc", dim=(0, 2))],
    dtypes=WIDE,
    tol=10,
    gtol=10,
    errors=[
        E(RuntimeError, ("linalg.matrix_norm", "2 dimensions"), t(3)),
        E(RuntimeError, ("linalg.matrix_norm", "Order 3"), t(3, 3), 3),
    ],
)
row(
    "linalg.solve_triangular",
    lambda a, y, upper: np.linalg.solve(np.triu(a) if upper else np.tril(a), y),
    [S(t(3, 3, **SPD), t(3, 2), upper=u) for u in (True, False)],
    dtypes=WIDE,
    tol=10,
    errors=[E(RuntimeError, ("solve_triangular", "square"), t(2, 3), t(3, 2), upper=True)],
)
row(
    "linalg.matrix_exp",
    lambda a: sum(np.linalg.matrix_power(a, k) / math.factorial(k) for k in range(60)),
    [S(t(3, 3)), S(t(2, 2, 2))],
    dtypes=WIDE,
    tol=10,
    gtol=10,
    also="matrix_exp",
)
row(
    "linalg.vecdot",
    lambda x, y, dim=-1: (x * y).sum(dim),
    [S(t(2, 3), t(3)), S(t(2, 3), t(2, 3), dim=0)],
    dtypes=WIDE,
    tol=2,
)
row(
    "linalg.vander",
    lambda x, N=None: x[..., None] ** np.arange(N or x.shape[-1]),
    [S(t(3)), S(t(2, 3), N=5)],
    dtypes=("float64", "float32", "int64"),
    tol=4,
    gtol=4,
    errors=[E(RuntimeError, "N must be greater than 1", t(3), N=1)],
)
row(
    "linalg.multi_dot",
    np.linalg.multi_dot,
    [S([t(2, 3), t(3, 4), t(4, 2)]), S([t(3), t(3, 2)])],
    dtypes=WIDE,
    tol=4,
)
row(
    "nn.functional.cosine_similarity",
    lambda x, y, dim=1, eps=1e-8: (x * y).sum(dim)
    / np.maximum(np.sqrt((x * x).sum(dim) * (y * y).sum(dim)), eps),
    [S(t(3, 4), t(3, 4)), S(t(3, 4), t(3, 4), dim=0), S(t(2, 3, 4), t(2, 3, 4))],
    tol=4,
    gtol=2,
)
row(
    "nn.functional.pairwise_distance",
    lambda x, y, p=2.0, eps=1e-6: (np.abs(x - y + eps) ** p).sum(-1) ** (1 / p),
    [S(t(3, 4), t(3, 4)), S(t(3, 4), t(3, 4), p=1.0)],
    dtypes=WIDE,
    tol=4,
    gtol=3,
)
