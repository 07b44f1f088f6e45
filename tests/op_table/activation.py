# Rows of the activations of nn.functional.
import numpy as np
from scipy import special as sp

from .core import NUM, E, S, row, t, unary

fn = "nn.functional."
SELU_A, SELU_S = 1.6732632423543772, 1.0507009873554805


def softplus(x, beta=1.0, threshold=20.0):
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


unary(
    "relu", lambda x: np.where(x < 0, 0, x), dtypes=NUM, kinks=(0,), inplace=True, also="nn.functional.relu"
)
unary(fn + "relu6", lambda x: np.clip(x, 0, 6), lo=-3, hi=9, kinks=(0, 6))
unary(
    fn + "leaky_relu",
    lambda x, negative_slope=0.01: np.where(x > 0, x, x * negative_slope),
    kinks=(0,),
    nan=False,
)
unary(
    fn + "leaky_relu",
    lambda x, negative_slope: np.where(x > 0, x, x * negative_slope),
    kinks=(0,),
    args=(0.2,),
)
unary(fn + "elu", lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)), kinks=(0,))
unary(
    fn + "elu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
    kinks=(0,),
    args=(1.7,),
    nan=False,
)
unary(
    "selu",
    lambda x: SELU_S * np.where(x > 0, x, SELU_A * np.expm1(x)),
    kinks=(0,),
    also=fn + "selu",
    method=False,
    tol=2,
)
unary(
    "celu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x / alpha)),
    kinks=(0,),
    kwargs={"alpha": 1.3},
    also=fn + "celu",
    method=False,
    tol=2,
)
unary(fn + "gelu", lambda x: x * 0.5 * sp.erfc(-x / np.sqrt(2)), tol=4, special=(np.nan, 0.0, 1.0, -9.0))
unary(
    fn + "gelu",
    lambda x, approximate: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    kwargs={"approximate": "tanh"},
    tol=4,
    nan=False,
    covers="gelu_tanh",
)
unary(fn + "silu", lambda x: x * sp.expit(x), tol=3, special=(np.nan, np.inf, 0.0, 1.0, -80.0))
unary(fn + "mish", lambda x: x * np.tanh(np.logaddexp(0, x)), tol=6, special=(np.nan, np.inf, 0.0, 1.0, -5.0))
unary(fn + "softplus", softplus, tol=3)
unary(fn + "softplus", softplus, kwargs={"beta": 2.0, "threshold": 1.0}, kinks=(0.5,), tol=3, nan=False)
unary(fn + "softsign", lambda x: x / (1 + np.abs(x)), special=(np.nan, 0.0, 3.0), kinks=(0,), gtol=2)
unary(fn + "logsigmoid", lambda x: -np.logaddexp(0, -x), tol=4, covers="log_sigmoid")
unary(fn + "tanhshrink", lambda x: x - np.tanh(x), tol=4, special=(np.nan, np.inf, -np.inf, 0.0))
unary(fn + "hardshrink", lambda x, lambd=0.5: np.where(np.abs(x) <= lambd, 0, x), kinks=(-0.5, 0.5))
unary(
    fn + "softshrink",
    lambda x, lambd=0.5: np.where(np.isnan(x), x, np.sign(x) * np.maximum(np.abs(x) - lambd, 0)),
    kinks=(-0.5, 0.5),
)
unary(fn + "hardtanh", lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val), kinks=(-1, 1))
unary(
    fn + "hardtanh",
    lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    kinks=(-0.5, 1.5),
    args=(-0.5, 1.5),
)
unary(fn + "hardsigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), lo=-5, hi=5, kinks=(-3, 3), tol=2)
unary(
    fn + "hardswish",
    lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    lo=-5,
    hi=5,
    kinks=(-3, 0, 3),
    tol=2,
    special=(np.nan, np.inf, 0.0),
)
unary(
    fn + "threshold",
    lambda x, threshold, value: np.where(x > threshold, x, value),
    args=(0.4, -1.0),
    kinks=(0.4,),
    special=(np.inf, -np.inf, 0.0),
)
unary("tanh", np.tanh, also=fn + "tanh", tol=2)


def prelu(x, w):
    return np.where(
        x >= 0,
        x,
        x * w.reshape([1, -1] + [1] * (x.ndim - 2) if x.ndim > 1 and w.size > 1 else [-1] if x.ndim else []),
    )


row(
    "prelu",
    prelu,
    [
        S(t(2, 3, 4, away=(0,)), t(3)),
        S(t(2, 3, away=(0,)), t(1)),
        S(t(5, away=(0,)), t(1)),
        S(t(2, 3, away=(0,)), t(3)),
    ],
    also=fn + "prelu",
    errors=[E(RuntimeError, ("prelu", "3", "4"), t(2, 3), t(4))],
    tol=2,
)


def glu(x, dim=-1):
    a, c = np.split(x, 2, axis=dim)
    return a * sp.expit(c)


row(
    fn + "glu",
    glu,
    [S(t(4)), S(t(3, 4)), S(t(4, 3), dim=0), S(t(2, 6, 3), 1)],
    errors=[E(RuntimeError, ("glu", "3"), t(2, 3))],
    tol=2,
)
row(
    fn + "normalize",
    lambda x, p=2.0, dim=1, eps=1e-12: x / np.maximum(np.linalg.norm(x, p, dim, keepdims=True), eps),
    [S(t(3, 4)), S(t(3, 4), dim=0), S(t(3, 4, away=(0,)), p=1.0)],
    tol=4,
)
