# Rows of numerical analysis (gradient, trapezoid, cov, histogram), of splits and of sampling at grids.
import itertools

import numpy as np
from scipy import integrate

from .core import INT, E, S, i, row, t

REAL = ("float64", "float32")


def gradient(x, spacing=1.0, dim=None, edge_order=1):
    steps = spacing if isinstance(spacing, list) else [spacing]
    r = np.gradient(x, *steps, axis=dim, edge_order=edge_order)
    return r if isinstance(r, (list, tuple)) else (r,)


def points(*values):
    return t(len(values), fill=list(values))


row(
    "gradient",
    gradient,
    [
        S(t(3, 4)),
        S(t(5), spacing=0.5),
        S(t(3, 4, 5), spacing=[2.0, 0.7], dim=(0, 2), edge_order=2),
        S(t(3, 4), spacing=[points(0.0, 0.5, 2.0), points(0.0, 1.0, 3.0, 4.0)], dim=(0, 1)),
        S(t(4, 3), spacing=[points(0.0, 0.5, 2.0, 2.5)], dim=0, edge_order=2),
    ],
    dtypes=REAL,
    tol=8,
    gtol=8,
    errors=[
        E(RuntimeError, "edge_order", t(5), edge_order=3),
        E(RuntimeError, "at least edge_order+1", t(1)),
        E(RuntimeError, "spacing", t(3, 3), spacing=[1.0]),
        E(RuntimeError, "multiple times", t(3, 3), dim=(0, 0)),
    ],
)


def integral(y, x=None, dx=1.0, dim=-1):
    return integrate.trapezoid(y, x, dx, axis=dim)


row(
    "trapezoid",
    integral,
    [S(t(5)), S(t(3, 4), dx=0.5, dim=0), S(t(3, 4), t(4)), S(t(3, 4), t(3, 4), dim=0)],
    dtypes=REAL,
    tol=4,
    also="trapz",
    errors=[E(RuntimeError, "one `x` value", t(3, 4), t(3))],
)
row(
    "cumulative_trapezoid",
    lambda y, x=None, dx=1.0, dim=-1: integrate.cumulative_trapezoid(y, x, dx, axis=dim),
    [S(t(5)), S(t(3, 4), dx=0.5, dim=0), S(t(3, 4), t(4)), S(t(3, 4), t(3, 4), dim=0)],
    dtypes=REAL,
    tol=4,
)
row(
    "cov",
    lambda x, correction=1, fweights=None, aweights=None: np.cov(
        x, ddof=correction, fweights=fweights, aweights=aweights
    ),
    [
        S(t(3, 6)),
        S(t(6), correction=0),
        S(t(1, 6)),
        S(t(2, 4), fweights=i(fill=[1, 0, 2, 3])),
        S(t(2, 4), fweights=i(fill=[1, 0, 2, 3]), aweights=t(4, lo=0.2, hi=2, grad=False)),
        S(t(2, 4), correction=0, aweights=t(4, lo=0.2, hi=2, grad=False)),
    ],
    dtypes=REAL,
    tol=8,
    gtol=4,
    method=True,
    errors=[
        E(RuntimeError, "two or fewer", t(2, 3, 4)),
        E(RuntimeError, ("fweights", "negative"), t(2, 2), fweights=i(fill=[1, -1])),
        E(RuntimeError, ("aweights", "numel"), t(2, 2), aweights=t(3)),
    ],
)
row("corrcoef", np.corrcoef, [S(t(3, 6)), S(t(6)), S(t(1, 4))], dtypes=REAL, tol=8, gtol=50, method=True, grad=1)
row(
    "unravel_index",
    lambda x, shape: np.unravel_index(x, shape),
    [S(i(3, 4, hi=24), (2, 3, 4)), S(i(hi=5), 5)],
    dtypes=("int64",),
    out="int64",
    grad=0,
    layouts=False,
)


def histogram(x, bins, range=None, weight=None, density=False):
    return np.histogram(x.ravel(), bins, range, density, None if weight is None else weight.ravel())


row(
    "histogram",
    histogram,
    [
        S(t(30), 5),
        S(t(4, 5), 4, range=(-1.0, 1.5)),
        S(t(4, 5), 3, weight=t(4, 5), density=False),
        S(t(20), 6, density=True),
        S(t(20), points(-2.5, -0.5, 0.0, 3.0)),
    ],
    dtypes=REAL,
    grad=0,
    tol=8,
    method=True,
    errors=[E(RuntimeError, "bins", t(4), 0), E(RuntimeError, "max", t(4), 2, range=(1.0, 0.0))],
)
row("frexp", np.frexp, [S(t(3, 5)), S(t()), S(t(0, 2))], out=("same", "int32"), method=True)
row("angle", np.angle, [S(t(3, 5, away=(0,)))], dtypes=REAL, method=True)
for _name, _axis in [("hsplit", 1), ("vsplit", 0), ("dsplit", 2)]:
    row(
        _name,
        lambda x, at, axis=_axis: tuple(np.split(x, list(at) if isinstance(at, tuple) else at, axis)),
        [S(t(4, 4, 4), 2), S(t(4, 4, 4), (1, 3))],
        view=True,
        method=True,
        dtypes=("float64", "float32", *INT[:1]),
        errors=[E(RuntimeError, "divisible", t(5, 5, 5), 2), E(RuntimeError, "dimension", t(), 2)],
    )


# ---- sampling at the points of a grid


def inside(x, n, padding, align):
    """A coordinate brought into the image as the padding says."""
    if padding == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        if span == 0:
            return 0.0
        flips, rest = divmod(abs(x - low), span)
        x = (span - rest if flips % 2 else rest) + low
    return x if padding == "zeros" else min(max(x, 0.0), n - 1.0)


def taps(x, n, mode, padding, align):
    """[(index, weight)] along one dimension."""
    x = (x + 1) / 2 * (n - 1) if align else ((x + 1) * n - 1) / 2
    if mode == "bicubic":
        low, t_ = np.floor(x), x - np.floor(x)
        far = [((-0.75 * s + 3.75) * s - 6) * s + 3 for s in (t_ + 1, 2 - t_)]
        near = [(1.25 * s - 2.25) * s * s + 1 for s in (t_, 1 - t_)]
        return [
            (inside(low + k - 1, n, padding, align), w) for k, w in enumerate([far[0], *near, far[1]])
        ]
    x = inside(x, n, padding, align)
    if mode == "nearest":
        return [(np.rint(x), 1.0)]
    return [(np.floor(x), 1 - x + np.floor(x)), (np.floor(x) + 1, x - np.floor(x))]


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    out = np.zeros(x.shape[:2] + grid.shape[1:-1])
    for n in range(x.shape[0]):
        for p in np.ndindex(*grid.shape[1:-1]):
            lists = [
                taps(c, s, mode, padding_mode, align_corners) for c, s in zip(grid[(n, *p)][::-1], x.shape[2:])
            ]
            for corner in itertools.product(*lists):
                at = tuple(int(k) for k, _ in corner)
                if all(0 <= k < s for k, s in zip(at, x.shape[2:])):
                    out[(n, slice(None), *p)] += x[(n, slice(None), *at)] * np.prod([w for _, w in corner])
    return out


def _grid(*shape, **options):
    return t(*shape, lo=-1.3, hi=1.3, **options)


row(
    "nn.functional.grid_sample",
    grid_sample,
    [
        S(t(2, 3, 4, 5), _grid(2, 3, 2, 2), mode=m, padding_mode=p, align_corners=a)
        for m in ("bilinear", "nearest", "bicubic")
        for p in ("zeros", "border", "reflection")
        for a in (False, True)
    ]
    + [
        S(t(2, 2, 3, 4, 5), _grid(2, 2, 1, 3, 3), mode=m, padding_mode=p, align_corners=False)
        for m in ("bilinear", "nearest")
        for p in ("zeros", "border", "reflection")
    ]
    + [S(t(1, 2, 3, 3), _grid(1, 0, 2, 2)), S(t(1, 0, 3, 3), _grid(1, 2, 2, 2))],
    dtypes=REAL,
    grad=0,
    why="the interpolant has kinks at the pixels: gradients are below and in test_nn_functional.py",
    tol=20,
    big=S(t(2, 20, 30, 30), _grid(2, 40, 41, 2)),
    errors=[
        E(ValueError, "mode", t(1, 1, 2, 2), t(1, 1, 1, 2), mode="linear"),
        E(ValueError, "padding_mode", t(1, 1, 2, 2), t(1, 1, 1, 2), padding_mode="constant"),
        E(RuntimeError, "batch size", t(2, 1, 2, 2), t(1, 1, 1, 2)),
        E(RuntimeError, "last dimension", t(1, 1, 2, 2), t(1, 1, 1, 3)),
        E(RuntimeError, "bicubic", t(1, 1, 2, 2, 2), t(1, 1, 1, 1, 3), mode="bicubic"),
        E(RuntimeError, "non-empty", t(1, 1, 0, 2), t(1, 1, 1, 2)),
    ],
)
# Points between the pixels, away from the kinks.
_fixed = t(1, 2, 2, 2, fill=[[[[-0.7, 0.3], [0.15, -0.4]], [[0.55, 0.61], [-1.25, 0.1]]]])
row(
    "nn.functional.grid_sample",
    grid_sample,
    [
        S(t(1, 2, 4, 5), _fixed, mode=m, padding_mode=p, align_corners=a)
        for m in ("bilinear", "bicubic")
        for p in ("zeros", "border", "reflection")
        for a in (False, True)
    ]
    + [S(t(1, 2, 3, 4, 2), t(1, 1, 1, 2, 3, fill=[[[[[-0.7, 0.3, 0.2], [0.15, -0.4, -0.55]]]]]))],
    dtypes=("float64",),
    tol=20,
    gtol=8,
)
