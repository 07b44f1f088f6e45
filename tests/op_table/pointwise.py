# Rows of the pointwise maths: arithmetic, powers, exponentials, trigonometry, rounding, bits.
import math

import numpy as np
from scipy import special as sp

from .core import ALL, FLOAT, INT, NUM, E, S, b, binary, row, t, unary

SIGNED = FLOAT + ("int64", "int32", "int16", "int8")
INTS_BOOL = INT + ("bool",)


def like(f):
    """f computed in the type of its first argument: numpy keeps int64 and bool, as the row's dtype needs."""
    return lambda x, *a, **k: f(x, *a, **k)


# ---- arithmetic with one tensor
unary("neg", np.negative, dtypes=NUM, inplace=True, also="negative Tensor.__neg__")
unary("positive", lambda x: x, dtypes=NUM, also="Tensor.__pos__")
unary("abs", np.abs, dtypes=NUM, kinks=(0,), inplace=True, also="absolute Tensor.__abs__")
unary(
    "sign",
    np.sign,
    dtypes=NUM,
    inplace=True,
    kinks=(0,),
    special=(np.inf, -np.inf, 0.0, -0.0),
    why="sign(nan) is 0 in PyTorch and nan in numpy",
)
unary("sgn", np.sign, dtypes=NUM, inplace=True, kinks=(0,), special=(np.inf, -np.inf, 0.0))
unary("square", np.square, dtypes=NUM, inplace=True)
unary("reciprocal", lambda x: 1.0 / x, lo=0.3, hi=3, ilo=1, ihi=6, dtypes=NUM, out="float", inplace=True)
unary("sqrt", np.sqrt, lo=0.1, hi=4, ilo=0, ihi=9, dtypes=ALL, out="float", inplace=True, also="Tensor.sqrt")
unary(
    "rsqrt",
    lambda x: 1 / np.sqrt(x),
    lo=0.1,
    hi=4,
    ilo=1,
    ihi=9,
    dtypes=NUM,
    out="float",
    inplace=True,
    tol=2,
)

# ---- exponentials and logarithms
unary("exp", np.exp, dtypes=ALL, out="float", inplace=True)
unary("exp2", np.exp2, dtypes=NUM, out="float", inplace=True)
unary("expm1", np.expm1, dtypes=NUM, out="float", inplace=True)
for name, ref in (("log", np.log), ("log2", np.log2), ("log10", np.log10)):
    unary(name, ref, lo=0.1, hi=4, ilo=1, ihi=9, dtypes=NUM, out="float", inplace=True)
unary("log1p", np.log1p, lo=-0.8, hi=4, ilo=0, ihi=9, dtypes=NUM, out="float", inplace=True)
unary(
    "logit",
    sp.logit,
    lo=0.05,
    hi=0.95,
    ilo=0,
    ihi=1,
    dtypes=FLOAT,
    inplace=True,
    special=(np.nan, 0.0, 1.0, 0.5),
    tol=4,
)
unary(
    "logit",
    lambda x, eps: sp.logit(np.clip(x, eps, 1 - eps)),
    lo=0.0,
    hi=1.0,
    kinks=(0.2, 0.8),
    kwargs={"eps": 0.2},
    nan=False,
    tol=4,
)

# ---- trigonometry and hyperbolic functions
for name, ref in (("sin", np.sin), ("cos", np.cos), ("tan", np.tan)):
    unary(name, ref, lo=-1.4, hi=1.4, dtypes=NUM, out="float", inplace=True, ilo=-1, ihi=2)
for name, ref in (
    ("sinh", np.sinh),
    ("cosh", np.cosh),
    ("tanh", np.tanh),
    ("atan", np.arctan),
    ("asinh", np.arcsinh),
):
    unary(name, ref, dtypes=NUM, out="float", inplace=True, tol=2)
for name, ref in (("asin", np.arcsin), ("acos", np.arccos), ("atanh", np.arctanh)):
    unary(name, ref, lo=-0.9, hi=0.9, ilo=0, ihi=1, dtypes=NUM, out="float", inplace=True, tol=2, gtol=3)
unary(
    "acosh",
    np.arccosh,
    lo=1.2,
    hi=4,
    ilo=1,
    ihi=5,
    dtypes=NUM,
    out="float",
    inplace=True,
    tol=2,
    gtol=5,
    special=(np.nan, np.inf, 1.0),
)
row("arctan", np.arctan, [S(t(3))], also="arctan")
row("sin", np.sin, [S(t(50, lo=-1e4, hi=1e4))], dtypes=("float64", "float32"), grad=1, gtol=1e4)
row("cos", np.cos, [S(t(50, lo=-1e4, hi=1e4))], dtypes=("float64", "float32"), grad=1, gtol=1e4)
unary("deg2rad", np.deg2rad, dtypes=NUM, out="float", inplace=True, lo=-180, hi=180, tol=2)
unary("rad2deg", np.rad2deg, dtypes=NUM, out="float", inplace=True, tol=2)
unary(
    "sinc",
    np.sinc,
    out="float",
    dtypes=NUM,
    inplace=True,
    special=(np.nan, 0.0, 1.0, -2.5),
    tol=4,
    kinks=(0,),
    gtol=5,
)

# ---- special functions
unary("erf", sp.erf, dtypes=NUM, out="float", inplace=True, tol=2, also="special.erf")
unary("erfc", sp.erfc, dtypes=NUM, out="float", inplace=True, tol=4)
unary(
    "erfinv",
    sp.erfinv,
    lo=-0.9,
    hi=0.9,
    ilo=0,
    ihi=1,
    dtypes=NUM,
    out="float",
    inplace=True,
    tol=8,
    gtol=20,
    special=(np.nan, 1.0, -1.0, 0.0),
)
unary(
    "sigmoid",
    sp.expit,
    dtypes=ALL,
    out="float",
    inplace=True,
    also="nn.functional.sigmoid special.expit",
    tol=2,
)
unary(
    "lgamma",
    sp.gammaln,
    lo=0.3,
    hi=5,
    ilo=1,
    ihi=9,
    dtypes=NUM,
    out="float",
    inplace=True,
    tol=8,
    grad=2,
    gtol=4,
    special=(np.nan, np.inf, 0.5),
)
unary(
    "digamma",
    sp.digamma,
    lo=0.3,
    hi=5,
    ilo=1,
    ihi=9,
    dtypes=NUM,
    out="float",
    inplace=True,
    tol=30,
    grad=1,
    gtol=4,
    special=(np.nan, np.inf, 0.5),
)

# ---- rounding
for name, ref in (("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("round", np.round)):
    unary(name, ref, dtypes=NUM, kinks=(-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2), inplace=True)
row(
    "round",
    lambda x, decimals: np.round(x, decimals),
    [S(t(9, lo=-20, hi=20), decimals=1), S(t(9, lo=-2000, hi=2000), decimals=-2)],
    dtypes=("float64", "float32"),
    grad=1,
    method=True,
)
row("round", np.round, [S(t(6, fill=[0.5, 1.5, 2.5, -0.5, -1.5, 3.5]))], grad=0)
unary("frac", lambda x: x - np.trunc(x), kinks=(-2, -1, 0, 1, 2), inplace=True, nan=False)
row("fix", np.trunc, [S(t(5))], method=True, grad=0)

# ---- non-finite
unary("nan_to_num", np.nan_to_num, dtypes=NUM, inplace=True, nan=False)
row(
    "nan_to_num",
    lambda x, nan, posinf, neginf: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    [S(t(5, fill=[np.nan, np.inf, -np.inf, 1.0, 0.0], grad=False), nan=1.0, posinf=9.0, neginf=-9.0)],
    grad=0,
    method=True,
)

# ---- clamp: PyTorch's gradient is 1 on the bounds
unary("clamp", np.clip, kinks=(-0.5, 1.0), args=(-0.5, 1.0), inplace=True, also="clip", dtypes=FLOAT)
unary("clamp", lambda x, lo, hi: np.clip(x, lo, hi), args=(1, 3), inplace=True, dtypes=INT)
unary("clamp", lambda x, min: np.maximum(x, min), kinks=(0.5,), kwargs={"min": 0.5}, inplace=True)
unary("clamp", lambda x, max: np.minimum(x, max), kinks=(0.5,), kwargs={"max": 0.5}, inplace=True)
row(
    "clamp",
    np.clip,
    [
        S(t(3, 4), t(4, lo=-1.5, hi=-0.5), t(3, 1, lo=0.5, hi=1.5)),
        S(t(5), t(5, lo=0.2, hi=1), t(5, lo=-1, hi=0)),
    ],
    method=True,
    inplace=True,
    grad=2,
)
unary("clamp_min", np.maximum, kinks=(0.5,), args=(0.5,), inplace=True)
unary("clamp_max", np.minimum, kinks=(0.5,), args=(0.5,), inplace=True)

# ---- arithmetic with two tensors
binary("add", lambda x, y: x + y, dtypes=ALL, inplace=True, also="Tensor.__add__")
binary("sub", lambda x, y: x - y, dtypes=NUM, inplace=True, also="subtract Tensor.__sub__")
binary("mul", lambda x, y: x * y, dtypes=ALL, inplace=True, also="multiply Tensor.__mul__")
binary(
    "div",
    lambda x, y: x / y,
    b={"lo": 0.3, "hi": 3, "ilo": 1, "ihi": 6},
    dtypes=NUM,
    out="float",
    inplace=True,
    also="divide true_divide Tensor.__truediv__",
)
row(
    "add",
    lambda x, y, alpha: x + alpha * y,
    [S(t(3, 4), t(4), alpha=2), S(t(3), t(3), alpha=-0.5)],
    method=True,
    inplace=True,
)
row(
    "sub",
    lambda x, y, alpha: x - alpha * y,
    [S(t(3, 4), t(4), alpha=2), S(t(3), 2.0, alpha=3)],
    method=True,
    inplace=True,
)
row(
    "add",
    lambda x, y: x + y,
    [S(t(3, 4), 2), S(t(3), -1)],
    dtypes=NUM,
    method=True,
    inplace=True,
    also="Tensor.__radd__ Tensor.__add__",
)
row("add", lambda x, y: x + y, [S(t(3, 4), 2.5)], method=True, inplace=True)
row(
    "mul",
    lambda x, y: x * y,
    [S(t(3, 4), 3), S(t(), -2)],
    dtypes=NUM[:-1],
    method=True,
    inplace=True,
    also="Tensor.__rmul__",
)
row("mul", lambda x, y: x * y, [S(t(3, 4), 1.5)], dtypes=NUM, out="float", method=True)
row("Tensor.__rsub__", lambda x, y: y - x, [S(t(3, 4), 2.5), S(t(3), 1)])
row("rsub", lambda x, y: y - x, [S(t(3, 4), t(4)), S(t(3), 1)])
row("Tensor.__rtruediv__", lambda x, y: y / x, [S(t(3, 4, lo=0.5, hi=2), 2.5)])
row("div", lambda x, y: x / y, [S(t(3, 4), 2.5), S(t(3), 4)], dtypes=NUM, out="float", method=True)
for mode, ref in (("floor", np.floor_divide), ("trunc", lambda x, y: np.trunc(x / y).astype(x.dtype))):
    row(
        "div",
        lambda x, y, rounding_mode, ref=ref: ref(x, y),
        [
            S(t(40), t(40, lo=0.3, hi=1.5, ilo=1, ihi=4), rounding_mode=mode),
            S(t(5, 3), t(3, lo=-2, hi=-0.6, ilo=2, ihi=5), rounding_mode=mode),
        ],
        dtypes=("float64", "float32") + INT,
        method=True,
        inplace=True,
        grad=1,
    )
binary(
    "floor_divide",
    np.floor_divide,
    b={"lo": 0.3, "hi": 3, "ilo": 1, "ihi": 6},
    dtypes=("float64", "float32") + INT,
    grad=0,
    inplace=True,
    also="Tensor.__floordiv__",
    nan=False,
)
binary(
    "remainder",
    np.mod,
    b={"lo": 0.3, "hi": 3, "ilo": 1, "ihi": 6},
    dtypes=("float64", "float32") + INT,
    inplace=True,
    also="Tensor.__mod__",
    nan=False,
    tol=4,
    grad=1,
    why="kinks where x/y is whole; samples stay clear of them",
)
row(
    "remainder",
    np.mod,
    [S(t(4, 3), 0.7), S(t(6), -1.3)],
    dtypes=("float64", "float32"),
    method=True,
    grad=1,
    tol=4,
)
binary(
    "fmod",
    np.fmod,
    b={"lo": 0.3, "hi": 3, "ilo": 1, "ihi": 6},
    dtypes=("float64", "float32") + INT,
    inplace=True,
    nan=False,
    tol=4,
    grad=1,
)
binary(
    "pow",
    lambda x, y: np.power(x, y),
    a={"lo": 0.3, "hi": 2.5, "ilo": -3, "ihi": 4},
    b={"ilo": 0, "ihi": 4},
    dtypes=NUM[:-1],
    tol=4,
    gtol=4,
    inplace=True,
    also="Tensor.__pow__",
    special=(np.nan, np.inf, 0.0, 1.0, 2.0, -1.0, 0.5),
)
for p in (2, 3, 0.5, -1, 1, 0, -2, 2.5):
    row(
        "pow",
        lambda x, p: np.power(x, p),
        [S(t(3, 4, lo=0.3, hi=2), p), S(t(lo=0.3, hi=2), p)],
        method=True,
        tol=4,
        gtol=4,
    )
row(
    "pow",
    lambda x, p: np.power(x, p),
    [S(t(3, 4), 2), S(t(3), 3)],
    dtypes=("float64", "float32") + INT[:-1],
    method=True,
    inplace=True,
)
row("pow", lambda p, x: np.power(p, x), [S(2.0, t(3, 4)), S(0.5, t(3))], also="", tol=4)
row("Tensor.__rpow__", lambda x, p: np.power(p, x), [S(t(3, 4), 2.0)], tol=4)
binary(
    "atan2", np.arctan2, a={"lo": 0.2, "hi": 2}, b={"lo": -2, "hi": 2}, inplace=True, also="arctan2", tol=3
)
binary("hypot", np.hypot, a={"lo": 0.2}, inplace=True, tol=3)
binary("logaddexp", np.logaddexp, tol=8)
binary("logaddexp2", np.logaddexp2, tol=8)
binary(
    "xlogy",
    sp.xlogy,
    b={"lo": 0.2, "hi": 3},
    inplace=True,
    tol=3,
    also="special.xlogy",
    special=(np.nan, np.inf, 0.0, 1.0),
)
binary("maximum", np.maximum, dtypes=ALL)
binary("minimum", np.minimum, dtypes=ALL)
binary("max", np.maximum, dtypes=NUM)
binary("min", np.minimum, dtypes=NUM)
binary("fmax", np.fmax)
binary("fmin", np.fmin)
binary(
    "copysign",
    np.copysign,
    a={"away": (0,)},
    b={"away": (0,)},
    inplace=True,
    special=(np.inf, -np.inf, 1.0, 0.0, -0.0),
)
binary("heaviside", np.heaviside, grad=0, inplace=True, special=(np.inf, -np.inf, 0.0))
row("maximum", np.maximum, [S(t(5, fill=[1.0, 2, 3, 2, 1]), t(5, fill=[3.0, 1, 3.5, 5, 0]))])

# ---- three tensors
LERP = [S(t(3, 4), t(4), t(3, 1)), S(t(5), t(5), t(5)), S(t(), t(), t())]
row("lerp", lambda x, y, w: x + w * (y - x), LERP, method=True, inplace=True, tol=2)
row(
    "lerp",
    lambda x, y, w: x + w * (y - x),
    [S(t(3, 4), t(4), 0.3), S(t(5), t(5), 0.8)],
    method=True,
    inplace=True,
    tol=2,
)
row(
    "addcmul",
    lambda x, y, z, value=1: x + value * y * z,
    LERP + [S(t(3, 4), t(4), t(3, 1), value=0.5)],
    method=True,
    inplace=True,
    tol=2,
)
row(
    "addcdiv",
    lambda x, y, z, value=1: x + value * y / z,
    [S(t(3, 4), t(4), t(3, 1, lo=0.5)), S(t(5), t(5), t(5, lo=0.5), value=-0.3)],
    method=True,
    inplace=True,
    tol=2,
)

# ---- bits
binary("bitwise_and", np.bitwise_and, dtypes=INTS_BOOL, grad=0, inplace=True, also="Tensor.__and__")
binary("bitwise_or", np.bitwise_or, dtypes=INTS_BOOL, grad=0, inplace=True, also="Tensor.__or__")
binary("bitwise_xor", np.bitwise_xor, dtypes=INTS_BOOL, grad=0, inplace=True, also="Tensor.__xor__")
unary("bitwise_not", np.invert, dtypes=INTS_BOOL, grad=0, inplace=True, also="Tensor.__invert__")
binary(
    "bitwise_left_shift",
    np.left_shift,
    a={"ilo": 0},
    b={"ilo": 0, "ihi": 4},
    dtypes=INT,
    grad=0,
    inplace=True,
    also="Tensor.__lshift__",
)
binary(
    "bitwise_right_shift",
    np.right_shift,
    b={"ilo": 0, "ihi": 4},
    dtypes=INT,
    grad=0,
    inplace=True,
    also="Tensor.__rshift__",
)

# ---- where and masked
row(
    "where",
    np.where,
    [S(b(3, 4), t(3, 4), t(3, 4)), S(b(3, 1), t(4), t(3, 4)), S(b(), t(), t()), S(b(0, 2), t(0, 2), t(2))],
    dtypes=ALL,
    big=S(b(301, 402), t(301, 402), t(402)),
    errors=[E(RuntimeError, ("where", "3", "4"), b(3), t(4), t(3))],
)
row("where", np.where, [S(b(3, 4), t(3, 4), 0.5), S(b(3, 4), 1.0, t(4))])
row("Tensor.where", lambda x, c, y: np.where(c, x, y), [S(t(3, 4), b(3, 4), t(4)), S(t(3, 4), b(4), 0.0)])
row(
    "masked_fill",
    lambda x, m, v: np.where(m, v, x),
    [S(t(3, 4), b(3, 4), 0.5), S(t(3, 4, grad=False), b(4), -math.inf), S(t(2, 1), b(3), 1.0)],
    method=True,
    inplace=True,
    big=S(t(301, 402), b(301, 402), 2.0),
    errors=[
        E(RuntimeError, ("masked_fill", "3", "4"), t(3), b(4), 0.0),
        E(RuntimeError, ("masked_fill", "float32"), t(3), t(3), 0.0),
    ],
)
row("masked_fill", lambda x, m, v: np.where(m, v, x), [S(t(3, 4), b(3, 4), t())], method=True, inplace=True)
row(
    "masked_fill",
    lambda x, m, v: np.where(m, v, x),
    [S(t(3, 4), b(3, 4), 3)],
    dtypes=INT,
    method=True,
    inplace=True,
)
row(
    "masked_select",
    lambda x, m: np.broadcast_to(x, np.broadcast(x, m).shape)[np.broadcast_to(m, np.broadcast(x, m).shape)],
    [S(t(3, 4), b(3, 4)), S(t(3, 4), b(4)), S(t(4), b(2, 4))],
    dtypes=ALL,
    method=True,
    errors=[E(RuntimeError, "masked_select", t(3), t(3))],
)


def masked_scatter_ref(x, m, s):
    y = np.array(np.broadcast_to(x, np.broadcast(x, m).shape))
    m = np.broadcast_to(m, y.shape)
    y[m] = s.reshape(-1)[: m.sum()]
    return y


row(
    "masked_scatter",
    masked_scatter_ref,
    [S(t(3, 4), b(3, 4), t(12)), S(t(3, 4), b(4), t(3, 5))],
    method=True,
    inplace=True,
)
