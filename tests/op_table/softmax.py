# Rows of softmax, log_softmax, logsumexp and cumulative logsumexp.
import numpy as np
from scipy import special as sp

from .core import E, S, row, t

SAMPLES = [
    S(t(5), dim=0),
    S(t(3, 4), dim=1),
    S(t(3, 4), 0),
    S(t(2, 3, 4), dim=1),
    S(t(2, 3, 4), dim=-1),
    S(t(), dim=0),
    S(t(1, 1), dim=-1),
]
EDGE = [
    S(t(0, 3), dim=1),
    S(t(2, 70, lo=-20, hi=20), dim=1),
    S(t(3, 17), dim=1),
    S(t(3, fill=[1.0, -np.inf, 2.0], grad=False), dim=0),
    S(t(2, 2, fill=[[1e4, 0], [-1e4, 0]], grad=False), dim=1),
    S(t(2, fill=[np.nan, 0], grad=False), dim=0),
]
ERRORS = [
    E(IndexError, ("{}", "2"), t(2, 3), dim=2),
    E(IndexError, ("{}", "-3"), t(2, 3), dim=-3),
    E(RuntimeError, ("{}",), t(3), dim=0, dtype="int64"),
]


def errors(name):
    return [
        E(e.error, tuple(w.format(name) for w in e.words), *e.sample.args, dtype=e.dtype, **e.sample.kwargs)
        for e in ERRORS
    ]


def softmax(x, dim):
    return sp.softmax(x, axis=dim) if x.ndim and x.size else np.ones_like(x)


def log_softmax(x, dim):
    return sp.log_softmax(x, axis=dim) if x.ndim and x.size else np.zeros_like(x)


def quiet(f):
    def g(*a, **k):
        with np.errstate(all="ignore"):
            return f(*a, **k)

    return g


row(
    "softmax",
    quiet(softmax),
    SAMPLES + EDGE,
    method=True,
    also="nn.functional.softmax",
    errors=errors("softmax"),
    big=S(t(301, 402), dim=1),
)
row("softmax", quiet(softmax), [S(t(64, 5, 9), dim=0)], grad=1, big=S(t(402, 301), dim=0))
row(
    "log_softmax",
    quiet(log_softmax),
    SAMPLES + EDGE[:3],
    method=True,
    also="nn.functional.log_softmax",
    errors=errors("log_softmax"),
    big=S(t(301, 402), dim=1),
)
row("nn.functional.softmin", lambda x, dim: softmax(-x, dim), SAMPLES)


def logsumexp(x, dim, keepdim=False):
    if x.ndim == 0:
        return x
    return (
        np.logaddexp.reduce(x, axis=dim, keepdims=keepdim)
        if not isinstance(dim, tuple)
        else sp.logsumexp(x, axis=dim, keepdims=keepdim)
    )


row(
    "logsumexp",
    quiet(logsumexp),
    [
        S(t(5), dim=0),
        S(t(3, 4), dim=1),
        S(t(3, 4), 0, True),
        S(t(2, 3, 4), dim=(0, 2)),
        S(t(0, 3), dim=0),
        S(t(3, fill=[-np.inf] * 3, grad=False), dim=0),
        S(t(2, fill=[np.inf, 1], grad=False), dim=0),
    ],
    method=True,
    errors=errors("logsumexp")[:2],
    big=S(t(301, 402), dim=1),
    also="special.logsumexp",
)
row(
    "logcumsumexp",
    lambda x, dim: np.logaddexp.accumulate(x, axis=dim),
    [S(t(5), dim=0), S(t(3, 4), dim=1), S(t(3, 4), dim=0)],
    method=True,
    tol=3,
)
