# Rows of gather/scatter, index_*, take, sorting and searching. Brackets: tests/test_indexing.py.
import numpy as np

from .core import ALL, FLOAT, NUM, E, S, b, i, row, t

D = {"distinct": True}
X = t(4, 3)


def along(f):
    """f(y, positions, source) for every element of index, with positions along dim replaced by the index."""

    def ref(x, dim, index, src, **kw):
        y = np.array(x)
        for p in np.ndindex(index.shape):
            q = list(p)
            q[dim] = index[p]
            y[tuple(q)] = f(y[tuple(q)], src[p] if isinstance(src, np.ndarray) else src)
        return y

    return ref


def cut(x, dim, index):
    return x[tuple(slice(None) if d == dim % x.ndim else slice(0, n) for d, n in enumerate(index.shape))]


row(
    "gather",
    lambda x, dim, index: np.take_along_axis(cut(x, dim, index), index, dim) if x.ndim else x,
    [
        S(X, 0, i(2, 3)),
        S(X, 1, i(4, 5)),
        S(X, 1, i(2, 2)),
        S(X, -1, i(4, 1)),
        S(t(5), 0, i(7, hi=5)),
        S(X, 0, i(0, 3)),
    ],
    dtypes=ALL,
    method=True,
    big=S(t(301, 402), 1, i(301, 300, hi=402)),
    errors=[
        E(RuntimeError, ("gather", "5"), X, 0, i(fill=[[5, 0, 0]])),
        E(RuntimeError, "gather", X, 0, t(2, 3)),
        E(RuntimeError, "gather", X, 0, i(2)),
        E(RuntimeError, ("gather",), X, 0, i(2, 4)),
        E(IndexError, "gather", X, 2, i(2, 3)),
        E(RuntimeError, ("gather", "-5"), X, 0, i(fill=[[-5, 0, 0]])),
    ],
)
row("take_along_dim", np.take_along_axis, [S(X, i(2, 3), 0), S(X, i(4, 5), 1)], method=True)
UNIQUE = i(fill=[[0, 1, 2], [3, 0, 1]])
row(
    "scatter",
    along(lambda y, s: s),
    [S(X, 0, UNIQUE, t(2, 3)), S(X, 0, UNIQUE, t(4, 3, grad=False)), S(X, 1, i(fill=[[2, 0]]), t(1, 2))],
    dtypes=ALL,
    method=True,
    inplace=True,
    errors=[
        E(RuntimeError, ("scatter", "4"), X, 0, i(fill=[[4, 0, 0]]), t(1, 3)),
        E(RuntimeError, "scatter", X, 0, i(3, 3), t(2, 3)),
        E((RuntimeError, IndexError), "scatter", X, 0, i(2, 3), t(2)),
    ],
)
row(
    "scatter",
    along(lambda y, s: s),
    [S(X, 0, UNIQUE, 1.5), S(X, 1, i(fill=[[2, 0]]), -1.0)],
    method=True,
    inplace=True,
)
row(
    "scatter_add",
    along(lambda y, s: y + s),
    [S(X, 0, i(6, 3, hi=4), t(6, 3)), S(X, 1, i(4, 5), t(4, 5)), S(t(4), 0, i(9), t(9))],
    dtypes=NUM,
    method=True,
    inplace=True,
    tol=2,
    big=S(t(30, 402), 0, i(301, 402, hi=30), t(301, 402)),
)
for how, f in (("sum", lambda y, s: y + s), ("prod", lambda y, s: y * s), ("amax", max), ("amin", min)):
    row(
        "scatter_reduce",
        lambda x, dim, index, src, reduce, f=f: along(f)(x, dim, index, src),
        [
            S(t(4, 3, **D), 0, i(6, 3, hi=4), t(6, 3, lo=-1.9, hi=1.7, **D), how),
            S(t(5, **D), 0, i(9), t(9, lo=-1.9, hi=1.7, **D), how),
        ],
        method=True,
        inplace=True,
        tol=4,
        gtol=4,
        covers="scatter",
        dtypes=("float64", "float32"),
        grad=1,
    )


def scatter_mean(x, dim, index, src, reduce):
    count = along(lambda y, s: y + s)(np.ones(x.shape), dim, index, np.ones(src.shape))
    return along(lambda y, s: y + s)(x, dim, index, src) / count


row(
    "scatter_reduce",
    scatter_mean,
    [S(X, 0, i(6, 3, hi=4), t(6, 3), "mean")],
    method=True,
    dtypes=("float64", "float32"),
)

row(
    "index_select",
    lambda x, dim, index: np.take(x, index, dim) if x.ndim else x.copy(),
    [
        S(X, 0, i(5)),
        S(X, 1, i(2)),
        S(X, -1, i(0)),
        S(t(2, 3, 4), 1, i(4)),
        S(t(5), 0, i(3, hi=5)),
        S(X, 0, i(3, dtype="int32")),
    ],
    dtypes=ALL,
    method=True,
    big=S(t(301, 402), 0, i(500, hi=301)),
    errors=[
        E(IndexError, ("index_select", "4"), X, 0, i(fill=[4])),
        E(IndexError, "index_select", X, 2, i(1)),
        E(IndexError, "index_select", X, 0, i(2, 2)),
        E((RuntimeError, IndexError), "index_select", X, 0, t(2)),
    ],
)


def on_rows(f):
    def ref(x, dim, index, src, **kw):
        y = np.array(x)
        y = np.moveaxis(y, dim, 0)
        s = np.moveaxis(src, dim, 0) if isinstance(src, np.ndarray) and src.ndim else src
        for k, j in enumerate(index):
            y[j] = f(y[j], s[k] if isinstance(s, np.ndarray) and s.ndim else s, **kw)
        return np.ascontiguousarray(np.moveaxis(y, 0, dim))

    return ref


row(
    "index_add",
    on_rows(lambda y, s, alpha=1: y + alpha * s),
    [S(X, 0, i(5, hi=4), t(5, 3)), S(X, 1, i(2), t(4, 2)), S(X, 0, i(2), t(2, 3), alpha=2)],
    method=True,
    inplace=True,
    dtypes=FLOAT,
    tol=2,
    big=S(t(30, 402), 0, i(301, hi=30), t(301, 402)),
    errors=[
        E(RuntimeError, "index_add", X, 0, i(2), t(3, 3)),
        E((IndexError, RuntimeError), ("index_add", "4"), X, 0, i(fill=[4]), t(1, 3)),
    ],
)
row(
    "index_add",
    on_rows(lambda y, s, alpha=1: y + alpha * s),
    [S(X, 0, i(5, hi=4), t(5, 3)), S(X, 0, i(2), t(2, 3), alpha=2)],
    method=True,
    inplace=True,
    dtypes=NUM,
)
row(
    "index_copy",
    on_rows(lambda y, s: s),
    [S(X, 0, i(fill=[2, 0]), t(2, 3)), S(X, 1, i(fill=[1]), t(4, 1))],
    method=True,
    inplace=True,
    dtypes=ALL,
)
row(
    "index_fill",
    on_rows(lambda y, s: s),
    [S(X, 0, i(fill=[2, 0]), 1.5), S(X, 1, i(fill=[1]), 2), S(X, 0, i(fill=[1]), t())],
    method=True,
    inplace=True,
)
row(
    "take",
    lambda x, index: x.reshape(-1)[index],
    [S(X, i(2, 4, hi=12)), S(X, i(0)), S(X, i(hi=12))],
    dtypes=ALL,
    method=True,
)


def index_put(x, indices, values, accumulate=False):
    y = np.array(x)
    (np.add.at if accumulate else lambda a, k, v: a.__setitem__(k, v))(y, tuple(indices), values)
    return y


row(
    "index_put",
    index_put,
    [
        S(X, (i(fill=[0, 3]),), t(2, 3)),
        S(X, (i(fill=[0, 3]), i(fill=[1, 2])), t(2)),
        S(X, (b(4),), t()),
        S(X, (i(5, hi=4),), t(5, 3), accumulate=True),
    ],
    method=True,
    inplace=True,
    covers="index_put index",
)
row(
    "nonzero",
    lambda x: np.argwhere(x),
    [S(t(3, 4, ilo=0, ihi=2)), S(t(5, ilo=0, ihi=2)), S(t(0)), S(t(2, 2, fill=[[0.0, 1], [0, 2]]))],
    dtypes=ALL,
    out="int64",
    grad=0,
    method=True,
    also="argwhere",
    covers="nonzero nonzero_count",
)
row(
    "nonzero",
    lambda x, as_tuple: x.nonzero(),
    [S(t(3, 4, ilo=0, ihi=2), as_tuple=True)],
    dtypes=("bool", "int64"),
    out=("int64", "int64"),
    grad=0,
)

# ---- sorting


def sort(x, dim=-1, descending=False, stable=True):
    if x.ndim == 0:
        return x, np.int64(0)
    order = np.argsort(-x if descending else x, dim, kind="stable")
    return np.take_along_axis(x, order, dim), order


SORT = [
    S(t(7, **D)),
    S(t(3, 4, **D), dim=0),
    S(t(3, 4, **D), 1, True),
    S(t(2, 3, 4, **D), dim=1, descending=True),
    S(t(**D)),
    S(t(0)),
]
LONG = S(t(2, 300, **D))
row("sort", sort, [LONG], dtypes=("float64", "float32", "int64"), out=("same", "int64"), grad=1)
row(
    "sort",
    sort,
    SORT,
    dtypes=("float64", "float32", "bfloat16", "float16", "int64", "int32", "int16"),
    out=("same", "int64"),
    method=True,
    errors=[E(IndexError, "sort", t(3), dim=1)],
    big=S(t(301, 402, **D), dim=1),
    tol=0,
)
row(
    "sort",
    sort,
    [S(t(40, ilo=0, ihi=3), dim=0, stable=True), S(t(40, 3, ilo=0, ihi=3), dim=0, stable=True)],
    dtypes=("int64", "uint8", "int8"),
    out=("same", "int64"),
    grad=0,
)
row(
    "sort",
    sort,
    [S(t(5, fill=[3.0, np.nan, 1.0, np.inf, -np.inf], grad=False))],
    out=("same", "int64"),
    grad=0,
)
row(
    "argsort",
    lambda *a, **k: sort(*a, **k)[1],
    SORT,
    dtypes=("float64", "float32", "int64"),
    out="int64",
    grad=0,
    method=True,
)
row("msort", lambda x: np.sort(x, 0), [S(t(5, 3, **D))])


def topk(x, k, dim=-1, largest=True, sorted=True):
    v, p = sort(x, dim, descending=largest)
    return np.take(v, range(k), dim), np.take(p, range(k), dim)


row(
    "topk",
    topk,
    [
        S(t(7, **D), 3),
        S(t(3, 5, **D), 2, dim=0),
        S(t(3, 5, **D), 2, 1, False),
        S(t(3, **D), 0),
        S(t(4, **D), 4),
    ],
    dtypes=("float64", "float32", "bfloat16", "int64", "int32"),
    out=("same", "int64"),
    method=True,
    errors=[
        E(RuntimeError, ("topk", "4"), t(3), 4),
        E(IndexError, "topk", t(3), 1, 1),
        E(RuntimeError, "topk", t(3), -1),
    ],
    big=S(t(301, 402, **D), 7),
)
row(
    "kthvalue",
    lambda x, k, dim=-1, keepdim=False: tuple(np.take(a, k - 1, dim) for a in sort(x, dim)),
    [S(t(7, **D), 3), S(t(3, 5, **D), 2, dim=0)],
    dtypes=("float64", "float32", "int64"),
    out=("same", "int64"),
    method=True,
    errors=[E(RuntimeError, "kthvalue", t(3), 4)],
)
K = t(20, ilo=0, ihi=6, fill=None)
UNIQ = {"dtypes": ("int64", "int32", "uint8"), "grad": 0}
row("unique", np.unique, [S(K), S(t(4, 5, ilo=0, ihi=6)), S(t(0))], method=True, **UNIQ)
row(
    "unique",
    lambda x, return_inverse, return_counts: np.unique(x, return_inverse=True, return_counts=True),
    [S(K, return_inverse=True, return_counts=True)],
    out=("same", "int64", "int64"),
    **UNIQ,
)
row(
    "unique_consecutive",
    lambda x: x[np.r_[True, x[1:] != x[:-1]]],
    [S(t(30, ilo=0, ihi=2))],
    method=True,
    **UNIQ,
)
EDGES = t(5, fill=[-1.5, -0.5, 0.0, 0.7, 1.6], grad=False)
row(
    "searchsorted",
    lambda e, x, right=False: np.searchsorted(e, x, "right" if right else "left"),
    [S(EDGES, t(3, 4, grad=False)), S(EDGES, t(5, fill=[-0.5, 0, 0.7, 9, -9], grad=False), right=True)],
    dtypes=("float64", "float32"),
    out="int64",
    grad=0,
)
row(
    "bucketize",
    lambda x, e, right=False: np.searchsorted(e, x, "right" if right else "left"),
    [S(t(3, 4, grad=False), EDGES), S(t(3, 4, grad=False), EDGES, right=True)],
    dtypes=("float64", "float32"),
    out="int64",
    grad=0,
)
row(
    "bincount",
    lambda x, weights=None, minlength=0: np.bincount(x, weights, minlength),
    [S(i(20, hi=6)), S(i(20, hi=6), minlength=9), S(i(0))],
    dtypes=("int64",),
    out="int64",
    grad=0,
    method=True,
    errors=[E(RuntimeError, "bincount", i(fill=[-1]))],
)
row(
    "bincount",
    lambda x, weights: np.bincount(x, weights),
    [S(i(20, hi=6), t(20))],
    dtypes=("float64",),
    grad=0,
)

# ---- one_hot and embedding
row(
    "nn.functional.one_hot",
    lambda x, n=-1: np.eye(n if n > 0 else x.max() + 1, dtype=np.int64)[x],
    [S(i(5)), S(i(2, 3), 7), S(i(), 4)],
    dtypes=("int64",),
    out="int64",
    grad=0,
    errors=[
        E(RuntimeError, ("one_hot",), i(fill=[0, 5]), 3),
        E(RuntimeError, "one_hot", i(fill=[-1]), 3),
        E(RuntimeError, "one_hot", t(3)),
    ],
)
row(
    "nn.functional.embedding",
    lambda x, w, **k: w[x],
    [
        S(i(2, 4, hi=5), t(5, 3)),
        S(i(hi=5), t(5, 3)),
        S(i(0, hi=5), t(5, 3)),
        S(i(3, hi=5, dtype="int32"), t(5, 3)),
    ],
    big=S(i(700, hi=100), t(100, 64)),
    errors=[
        E(IndexError, ("embedding", "5"), i(fill=[5]), t(5, 3)),
        E((RuntimeError, IndexError), "embedding", t(3), t(5, 3)),
        E(IndexError, "embedding", i(fill=[-1]), t(5, 3)),
    ],
)


def embedding_renorm(x, w, padding_idx=None, max_norm=None):
    n = np.linalg.norm(w, axis=1, keepdims=True)
    return np.where(n > max_norm, w * max_norm / (n + 1e-7), w)[x]


row(
    "nn.functional.embedding",
    embedding_renorm,
    [S(i(2, 4, hi=5), t(5, 3), None, 1.0), S(i(2, 4, hi=5), t(5, 3), max_norm=0.5)],
    dtypes=("float64", "float32"),
    writes=True,
    grad=0,
    layouts=False,
    covers="embedding_renorm embedding_bag_max",
)


def embedding_bag(x, w, offsets=None, mode="mean"):
    bags = np.split(x, offsets[1:]) if offsets is not None else list(x)
    f = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
    return np.stack([f(w[k], axis=0) if len(k) else np.zeros(w.shape[1]) for k in bags])


row(
    "nn.functional.embedding_bag",
    embedding_bag,
    [S(i(2, 4, hi=5), t(5, 3, **D), mode=m) for m in ("sum", "mean", "max")]
    + [S(i(7, hi=5), t(5, 3), i(fill=[0, 2, 5]), mode="sum")],
    dtypes=("float64", "float32"),
    tol=2,
    grad=1,
)
