# Rows of reductions and scans.
import numpy as np

from .core import ALL, FLOAT, INT, NUM, E, S, row, t

D = {"distinct": True}


def reduction(f, **fixed):
    """numpy's f with PyTorch's dim and keepdim."""

    def ref(x, dim=None, keepdim=False, dtype=None):
        if x.ndim == 0:
            dim = None
        return f(x, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim, **fixed)

    return ref


def samples(**o):
    return [
        S(t(3, 4, **o)),
        S(t(3, 4, **o), dim=1),
        S(t(3, 4, **o), 0, True),
        S(t(2, 3, 4, **o), dim=1),
        S(t(2, 3, 4, **o), dim=(0, 2)),
        S(t(2, 3, 4, **o), dim=(-1, 0), keepdim=True),
        S(t(5, **o), dim=-1),
        S(t(**o)),
        S(t(**o), dim=0),
    ]


EMPTY = [S(t(0)), S(t(0, 3), dim=1), S(t(0, 3), dim=0), S(t(2, 0, 3), dim=1)]
LONG = [S(t(3, 200)), S(t(2, 130), dim=1), S(t(130, 2), dim=0), S(t(3, 65, 2), dim=1)]


def bad_dim(name):
    return [E(IndexError, (name, "2"), t(2, 3), dim=2), E(IndexError, (name, "-3"), t(2, 3), dim=-3)]


def twice(name):
    return [E(RuntimeError, name, t(2, 3), dim=(1, 1))]


BIG = S(t(301, 402), dim=1)

row(
    "sum",
    reduction(np.sum),
    samples() + EMPTY + LONG,
    dtypes=ALL,
    out="sum",
    method=True,
    big=BIG,
    errors=bad_dim("sum") + twice("sum"),
)
row("sum", reduction(np.sum), [S(t(40, 7), dim=0)], dtypes=("float32",), big=S(t(402, 301), dim=0), grad=1)
row("sum", reduction(np.sum), [S(t(40, 7))], dtypes=("float32",), big=S(t(402, 301)), grad=1)
row(
    "mean",
    reduction(np.mean),
    samples() + LONG + [S(t(0)), S(t(2, 0, 3), dim=1)],
    method=True,
    big=BIG,
    errors=bad_dim("mean") + [E(RuntimeError, ("mean", "int64"), t(3), dtype="int64")],
)
row(
    "prod",
    reduction(np.prod),
    [
        S(t(3, 4)),
        S(t(3, 4), dim=1),
        S(t(3, 4), 0, True),
        S(t()),
        S(t(0)),
        S(t(2, 0, 3), dim=1),
        S(t(3, fill=[1.0, 0.0, 2.0])),
        S(t(2, 3, fill=[[0.0, 0.0, 2.0], [3.0, 0.0, 4.0]]), dim=1),
    ],
    dtypes=NUM,
    out="sum",
    method=True,
    tol=2,
    gtol=4,
    errors=bad_dim("prod"),
)
for name, ref in (("amax", np.max), ("amin", np.min)):
    row(
        name,
        reduction(ref),
        samples(**D),
        dtypes=ALL,
        method=True,
        big=BIG,
        errors=bad_dim(name) + [E(IndexError, name, t(0, 2), dim=0)],
    )
    row(
        name,
        reduction(ref),
        [S(t(3, 2, fill=[[np.nan, 1], [2, np.nan], [1, 2]], grad=False), dim=0), S(t(2, 0, 3), dim=(0, 2))],
        grad=0,
    )
    row(
        name,
        reduction(ref),
        [S(t(2, 3, fill=[[1.0, 2.0, 1.0], [0.0, 0.0, 0.0]], grad=False), dim=1)],
        dtypes=("float32",),
        grad=0,
    )


def picked(f, arg):
    """Values and positions along dim."""

    def ref(x, dim, keepdim=False):
        if x.ndim == 0:
            return x, np.int64(0)
        return f(x, axis=dim, keepdims=keepdim), arg(x, axis=dim, keepdims=keepdim)

    return ref


PICK = [
    S(t(5, **D), dim=0),
    S(t(3, 4, **D), dim=1),
    S(t(3, 4, **D), 0, True),
    S(t(2, 3, 4, **D), dim=-2),
    S(t(**D), dim=0),
    S(t(3, 70, **D), dim=1),
    S(t(70, 3, **D), dim=0),
]
for name, ref, arg in (("max", np.max, np.argmax), ("min", np.min, np.argmin)):
    row(
        name,
        reduction(ref),
        [S(t(3, 4, **D)), S(t(**D)), S(t(100, **D))],
        dtypes=ALL,
        method=True,
        errors=[E(RuntimeError, name, t(0))],
    )
    row(
        name,
        picked(ref, arg),
        PICK,
        covers=name + "_dim",
        dtypes=NUM,
        out=("same", "int64"),
        method=True,
        errors=bad_dim(name) + [E(IndexError, name, t(0, 2), dim=0)],
        big=BIG,
    )
    row(
        name,
        picked(ref, arg),
        [S(t(3, 3, fill=[[1, np.nan, np.nan], [1, 1, 0], [0, 1, 1.0]], grad=False), dim=1)],
        out=("same", "int64"),
        grad=0,
    )

    def arg_ref(x, dim=None, keepdim=False, arg=arg):
        return arg(x) if dim is None or x.ndim == 0 else arg(x, axis=dim, keepdims=keepdim)

    row(
        "arg" + name,
        arg_ref,
        [S(t(3, 4, **D))] + PICK + [S(t(2, 3, fill=[[1, 1, 0], [np.nan, 2, np.nan]], grad=False), dim=1)],
        dtypes=FLOAT,
        out="int64",
        grad=0,
        method=True,
        errors=bad_dim("arg" + name) + [E(IndexError, "arg" + name, t(0))],
        big=BIG,
        layouts=True,
    )
    row("arg" + name, arg_ref, [S(t(3, 4, **D))] + PICK, dtypes=INT, out="int64", grad=0, method=True)


def aminmax(x, dim=None, keepdim=False):
    return np.min(x, axis=dim, keepdims=keepdim), np.max(x, axis=dim, keepdims=keepdim)


row(
    "aminmax",
    aminmax,
    [S(t(3, 4, **D)), S(t(3, 4, **D), dim=1), S(t(3, 4, **D), dim=0, keepdim=True)],
    method=True,
)


def spread(f, two=False):
    def ref(x, dim=None, unbiased=None, correction=1, keepdim=False):
        if unbiased is not None:
            correction = int(unbiased)
        dim = tuple(dim) if isinstance(dim, list) else dim
        n = (
            x.size
            if dim is None
            else int(np.prod([x.shape[d] for d in ([dim] if isinstance(dim, int) else dim)]))
        )
        m = np.mean(x, axis=dim, keepdims=True)
        v = (
            np.sum((x - m) ** 2, axis=dim, keepdims=keepdim) / max(n - correction, 0)
            if n - correction > 0
            else np.full_like(np.sum(x, axis=dim, keepdims=keepdim), np.nan if n else np.nan)
        )
        return (f(v), np.mean(x, axis=dim, keepdims=keepdim)) if two else f(v)

    return ref


SPREAD = [
    S(t(3, 4)),
    S(t(3, 4), dim=1),
    S(t(2, 3, 4), dim=(0, 2), keepdim=True),
    S(t(5), dim=0, correction=0),
    S(t(3, 4), dim=0, unbiased=False),
    S(t(3, 5), dim=1, correction=2),
    S(t(2, 100), dim=1),
]
for name, f in (("var", lambda v: v), ("std", np.sqrt)):
    row(
        name,
        spread(f),
        SPREAD,
        method=True,
        tol=2,
        gtol=3,
        big=BIG,
        errors=bad_dim(name) + [E(RuntimeError, name, t(3), dtype="int64")],
    )
    row(
        name,
        spread(f),
        [S(t(1)), S(t(2, 1), dim=1)],
        grad=1,
        gtol=np.inf,
        why="nan by definition",
        dtypes=("float32",),
    )
    row(name + "_mean", spread(f, True), SPREAD[:5], tol=2, gtol=3, out=("same", "same"))
row(
    "var",
    spread(lambda v: v),
    [S(t(50, lo=1000.0, hi=1000.5))],
    dtypes=("float32",),
    tol=20,
    grad=1,
    why="no cancellation",
)


def norm(x, p=2, dim=None, keepdim=False):
    p = 2 if p == "fro" else p
    if dim is None and not keepdim:
        x, dim = x.reshape(-1), 0
    axes = tuple(range(x.ndim)) if dim is None else tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    a = np.abs(x)
    if p == np.inf:
        return a.max(axis=axes, keepdims=keepdim)
    if p == -np.inf:
        return a.min(axis=axes, keepdims=keepdim)
    if p == 0:
        return (a != 0).sum(axis=axes, keepdims=keepdim).astype(x.dtype)
    return (a**p).sum(axis=axes, keepdims=keepdim) ** (1 / p)


A = {"away": (0,)}
NORM = [
    S(t(3, 4, **A)),
    S(t(3, 4, **A), 2, 1),
    S(t(3, 4, **A), 1, 0, True),
    S(t(2, 3, 4, **A), 3, (0, 2)),
    S(t(5, **A), 0.5),
    S(t(5, **A), 2.0, 0),
    S(t(**A)),
]
INFS = [S(t(3, 4, lo=0.2, **D), np.inf, 1), S(t(3, 4, lo=0.2, **D), -np.inf), S(t(3, 4, **A), 0, 1)]
row(
    "norm",
    norm,
    NORM + INFS + [S(t(3, 4, **A), "fro")],
    method=True,
    tol=2,
    gtol=3,
    errors=[E(IndexError, ("norm", "2"), t(2, 3), 2, 2)],
    big=S(t(301, 402), 2, 1),
)
row("linalg.vector_norm", norm, NORM + INFS, tol=2, gtol=3)
row("linalg.norm", lambda x: np.linalg.norm(x), [S(t(3, 4)), S(t(5))])
row("norm", norm, [S(t(3, fill=[0.0, 0.0, 0.0], grad=False))], grad=0, method=True)

for name, ref in (("cumsum", np.cumsum), ("cumprod", np.cumprod)):
    row(
        name,
        lambda x, dim, ref=ref: ref(x, axis=dim) if x.ndim else x,
        [
            S(t(5), dim=0),
            S(t(3, 4), dim=1),
            S(t(3, 4), 0),
            S(t(2, 3, 4), dim=-2),
            S(t(), dim=0),
            S(t(0, 3), dim=0),
        ],
        dtypes=NUM,
        out="sum",
        method=True,
        errors=bad_dim(name),
        tol=2,
        gtol=4,
        big=S(t(301, 402, lo=0.9, hi=1.1), dim=1) if name == "cumsum" else None,
    )
row(
    "cumprod",
    lambda x, dim: np.cumprod(x, axis=dim),
    [S(t(4, fill=[2.0, 0.0, 3.0, 0.0]), dim=0), S(t(4, fill=[2.0, 1.0, 0.0, 5.0]), dim=0)],
    gtol=4,
)


def cumextreme(f):
    def ref(x, dim):
        y = f.accumulate(x, axis=dim)
        n = x.shape[dim]
        where = np.moveaxis(np.broadcast_to(np.arange(n), np.moveaxis(x, dim, -1).shape), -1, dim)
        return y, np.maximum.accumulate(np.where(x == y, where, 0), axis=dim)

    return ref


row(
    "cummax",
    cumextreme(np.maximum),
    [S(t(5, **D), dim=0), S(t(3, 4, **D), dim=1), S(t(3, 4, **D), 0)],
    dtypes=NUM,
    out=("same", "int64"),
    method=True,
)
row(
    "cummin",
    cumextreme(np.minimum),
    [S(t(5, **D), dim=0), S(t(3, 4, **D), dim=1), S(t(3, 4, **D), 0)],
    dtypes=NUM,
    out=("same", "int64"),
    method=True,
)


def count_nonzero(x, dim=None):
    return np.count_nonzero(x, axis=dim)


row(
    "count_nonzero",
    count_nonzero,
    [S(t(3, 4, ilo=0, ihi=2)), S(t(3, 4, ilo=0, ihi=2), dim=1), S(t(2, 3, 4, ilo=0, ihi=2), dim=(0, 2))],
    dtypes=ALL,
    out="int64",
    grad=0,
    method=True,
)
NANS = [
    S(t(2, 3, fill=[[1, np.nan, 3], [4, 5, np.nan]], grad=False)),
    S(t(2, 3, fill=[[1, np.nan, 3], [4, 5, np.nan]], grad=False), dim=1),
    S(t(3, 4), dim=0),
]
row("nansum", reduction(np.nansum), NANS, method=True)
row("nanmean", reduction(np.nanmean), NANS, method=True)


def median(x, dim=None, keepdim=False):
    if dim is None:
        return np.sort(x.reshape(-1))[(x.size - 1) // 2]
    k = (x.shape[dim] - 1) // 2
    order = np.argsort(x, axis=dim, kind="stable")
    where = np.take(order, [k], axis=dim)
    value = np.take_along_axis(x, where, dim)
    return (value, where) if keepdim else (value.squeeze(dim), where.squeeze(dim))


row("median", median, [S(t(3, 4, **D)), S(t(5, **D))], dtypes=NUM, method=True)
row(
    "median",
    median,
    [S(t(3, 4, **D), dim=1), S(t(5, 3, **D), dim=0, keepdim=True)],
    dtypes=NUM,
    out=("same", "int64"),
    method=True,
)


def quantile(x, q, dim=None, keepdim=False):
    return np.quantile(x, q, axis=dim, keepdims=keepdim)


row(
    "quantile",
    quantile,
    [S(t(9, **D), 0.3), S(t(3, 5, **D), 0.5, dim=1), S(t(3, 5, **D), 0.25, dim=0, keepdim=True)],
    dtypes=("float64", "float32"),
    method=True,
)
row("dist", lambda x, y, p=2: norm(x - y, p), [S(t(3, 4), t(3, 4)), S(t(5), t(5), 1)], method=True)
row(
    "diff",
    lambda x, n=1, dim=-1: np.diff(x, n, dim),
    [S(t(5)), S(t(3, 4), dim=0), S(t(3, 5), n=2)],
    dtypes=NUM,
    method=True,
)
row(
    "histc",
    lambda x, bins, min, max: np.histogram(x, bins, (min, max))[0].astype(float),
    [S(t(50), bins=7, min=-1.5, max=1.5)],
    dtypes=("float64", "float32"),
    grad=0,
    method=True,
)


def mode(x, dim=-1, keepdim=False):
    """The most frequent value (the smallest of several) and the last place where it stands."""
    x = np.moveaxis(x, dim, -1)
    value, where = np.zeros(x.shape[:-1]), np.zeros(x.shape[:-1], np.int64)
    for k in np.ndindex(x.shape[:-1]):
        v, n = np.unique(x[k], return_counts=True)
        value[k] = v[n.argmax()]
        where[k] = np.flatnonzero(x[k] == value[k])[-1]
    return (np.expand_dims(value, dim), np.expand_dims(where, dim)) if keepdim else (value, where)


MODES = t(4, 6, fill=[[1, 2, 2, 3, 3, 3], [5, 5, 4, 4, 1, 0], [0, 1, 2, 3, 4, 5], [7, 7, 7, 7, 7, 7]])
row(
    "mode",
    mode,
    [S(MODES, dim=1), S(MODES, dim=-1, keepdim=True)],
    dtypes=("float64", "float32", "int64"),
    out=("same", "int64"),
    method=True,
    grad=0,
)
