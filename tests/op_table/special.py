# Rows of the special functions, integer division helpers, and of what pointwise ops become with a plain number.
import numpy as np
from scipy import special as sp

from .core import INT, NUM, S, b, binary, row, t, unary

# ---- fireseed.special
unary("special.ndtr", sp.ndtr, method=False, out="float", dtypes=NUM, tol=4)
unary(
    "special.i0",
    sp.i0,
    method=False,
    out="float",
    dtypes=NUM,
    tol=4,
    kinks=(0,),
    gtol=5,
    special=(np.nan, 0.0, 2.5),
)
unary(
    "special.i1",
    sp.i1,
    method=False,
    out="float",
    dtypes=NUM,
    tol=4,
    kinks=(0,),
    gtol=5,
    special=(np.nan, 0.0, 2.5),
)
unary(
    "special.gammaln",
    sp.gammaln,
    method=False,
    lo=0.3,
    hi=5,
    ilo=1,
    ihi=9,
    out="float",
    dtypes=NUM,
    tol=8,
    gtol=4,
    special=(np.nan, np.inf, 0.5),
)
unary(
    "i0", sp.i0, out="float", dtypes=NUM, inplace=True, tol=4, kinks=(0,), gtol=5, special=(np.nan, 0.0, 2.5)
)
row(
    "polygamma",
    lambda n, x: sp.polygamma(n, x),
    [S(1, t(3, 4, lo=0.4, hi=4)), S(2, t(5, lo=0.4, hi=4)), S(3, t(lo=0.5, hi=3))],
    dtypes=("float64", "float32"),
    tol=8,
    grad=1,
    gtol=50,
    also="special.polygamma",
)
row(
    "polygamma",
    lambda n, x: sp.digamma(x),
    [S(0, t(3, 4, lo=0.4, hi=4))],
    dtypes=("float64",),
    tol=8,
    grad=1,
    gtol=5,
)
row(
    "special.xlog1py",
    sp.xlog1py,
    [S(t(3, 4), t(4, lo=-0.5, hi=2)), S(t(5, lo=0.2), 0.7)],
    dtypes=("float64", "float32"),
    tol=4,
)
row("special.entr", sp.entr, [S(t(3, 4, lo=0.2, hi=2))], dtypes=("float64", "float32"), tol=4)
row(
    "mvlgamma",
    lambda x, p: sp.multigammaln(x, p)
    if np.ndim(x) == 0
    else np.vectorize(lambda v: sp.multigammaln(v, p))(x),
    [S(t(3, 4, lo=2.1, hi=5), p=3)],
    dtypes=("float64", "float32"),
    method=True,
    tol=8,
    gtol=5,
)

# ---- integers
binary("gcd", np.gcd, dtypes=INT, grad=0, inplace=True)
binary(
    "lcm",
    np.lcm,
    a={"ilo": -4, "ihi": 5},
    b={"ilo": 1, "ihi": 5},
    dtypes=("int64", "int32", "int16"),
    grad=0,
    inplace=True,
)
row(
    "ldexp",
    lambda x, e: x * 2.0**e,
    [S(t(3, 4), t(4, lo=-3, hi=3))],
    dtypes=("float64", "float32"),
    grad=1,
    method=True,
)
row(
    "nextafter",
    np.nextafter,
    [S(t(3, 4), t(4)), S(t(5), t(5))],
    dtypes=("float64",),
    grad=0,
    method=True,
    inplace=True,
)

# ---- a number beside a tensor: the kernels add_scalar, rsub_scalar, mul_scalar, div_scalar, rdiv_scalar, pow_scalar
row(
    "add",
    lambda x, y, alpha=1: x + alpha * y,
    [S(t(3, 4), 2.5), S(t(2, 3), 1.5, alpha=2), S(t(0, 3), 1.0), S(t(), -1.0)],
    method=True,
    inplace=True,
    covers="add_scalar",
    big=S(t(301, 402), 2.5),
)
row("sub", lambda x, y: x - y, [S(1.5, t(3, 4)), S(2.0, t())], covers="rsub_scalar", big=S(1.5, t(301, 402)))
row(
    "mul",
    lambda x, y: x * y,
    [S(t(3, 4), 2.5), S(t(), -3.0), S(2.0, t(4))],
    covers="mul_scalar",
    big=S(t(301, 402), 2.5),
)
row(
    "div",
    lambda x, y: x / y,
    [S(t(3, 4), 2.5), S(t(), -3.0)],
    method=True,
    inplace=True,
    covers="div_scalar",
    big=S(t(301, 402), 2.5),
)
row(
    "div",
    lambda x, y: x / y,
    [S(2.5, t(3, 4, lo=0.5, hi=2))],
    covers="rdiv_scalar",
    gtol=4,
    big=S(2.5, t(301, 402, lo=0.5, hi=2)),
)
row(
    "pow",
    np.power,
    [S(t(3, 4, lo=0.3, hi=2), p) for p in (2.5, 1.5, 4, 2, 0.3)],
    method=True,
    inplace=True,
    covers="pow_scalar",
    tol=4,
    gtol=4,
    big=S(t(301, 402, lo=0.3, hi=2), 2.5),
)
row("lerp", lambda x, y, w: x + w * (y - x), [S(t(3, 4), t(3, 4), 0.4)], covers="lerp_scalar", tol=2)
row("clamp", np.clip, [S(t(3, 4), t(4, lo=-1.5, hi=-0.5), t(3, 1, lo=0.5, hi=1.5))], covers="clamp_tensor")
row(
    "div",
    lambda x, y, rounding_mode: np.trunc(x / y),
    [S(t(3, 4), t(4, lo=0.6, hi=2), rounding_mode="trunc")],
    covers="div_trunc",
    dtypes=("float64", "float32"),
    grad=0,
)

# ---- layouts: transposed and broadcast operands on large inputs
row("add", lambda x, y: x + y, [S(t(3, 4), t(4))], big=S(t(200, 300), t(300)))
row(
    "mul",
    lambda x, y: x * y,
    [S(t(70, 5), t(5))],
    big=S(t(3000, 7), t(7)),
    grad=1,
    dtypes=("float64", "float32", "bfloat16"),
)
row("where", np.where, [S(b(40, 3), t(3), t(40, 1))], big=S(b(900, 11), t(11), t(900, 1)), grad=1)
