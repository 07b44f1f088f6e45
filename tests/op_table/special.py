# Rows of the special functions, integer division helpers, and of what pointwise ops become with a plain number.
import numpy as np
from scipy import special as sp

from .core import INT, NUM, E, S, b, binary, row, t, unary

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

# The kernel `special`: name, reference, range, and the highest derivative that has a rule.
for _name, _ref, _lo, _hi, _grad in [
    ("i0e", sp.i0e, -12, 12, 2),
    ("i1e", sp.i1e, -12, 12, 2),
    ("erfcx", sp.erfcx, -2, 4, 2),
    ("entr", sp.entr, 0.2, 2, 2),
    ("log_ndtr", sp.log_ndtr, -5, 3, 2),
    ("ndtri", sp.ndtri, 0.05, 0.95, 2),
    ("airy_ai", lambda x: sp.airy(x)[0], -6, 5, 0),
    ("bessel_j0", sp.j0, -12, 12, 0),
    ("bessel_j1", sp.j1, -12, 12, 0),
    ("bessel_y0", sp.y0, 0.5, 12, 0),
    ("bessel_y1", sp.y1, 0.5, 12, 0),
    ("modified_bessel_i0", sp.i0, -12, 12, 0),
    ("modified_bessel_i1", sp.i1, -12, 12, 0),
    ("modified_bessel_k0", sp.k0, 0.1, 12, 0),
    ("modified_bessel_k1", sp.k1, 0.1, 12, 0),
    ("scaled_modified_bessel_k0", sp.k0e, 0.1, 12, 0),
    ("scaled_modified_bessel_k1", sp.k1e, 0.1, 12, 0),
    ("spherical_bessel_j0", lambda x: sp.spherical_jn(0, x), -12, 12, 0),
]:
    unary(
        "special." + _name,
        _ref,
        _lo,
        _hi,
        kinks=(0,) if _lo < 0 and _grad else (),
        method=False,
        dtypes=("float64", "float32", "bfloat16"),
        out="float",
        tol=8,
        gtol=8,
        grad=_grad,
        special=(np.nan, 0.5, 1.0),
        covers="special",
    )


# The kernel `special_pair`: the polynomials of a degree …
def polynomial(ref):
    return lambda x, n: np.vectorize(ref, otypes=[float])(np.trunc(n).astype(int), x)


def shifted(ref):
    return lambda n, x: ref(n, 2 * x - 1)


def third(n, x):
    """Chebyshev polynomial of the third kind; the fourth kind is (-1)^n of it at -x."""
    t = np.arccos(x)
    return np.cos((n + 0.5) * t) / np.cos(0.5 * t)


def fourth(n, x):
    return (-1) ** n * third(n, -x)


for _name, _ref in [
    ("chebyshev_polynomial_t", sp.eval_chebyt),
    ("chebyshev_polynomial_u", sp.eval_chebyu),
    ("chebyshev_polynomial_v", third),
    ("chebyshev_polynomial_w", fourth),
    ("shifted_chebyshev_polynomial_t", shifted(sp.eval_chebyt)),
    ("shifted_chebyshev_polynomial_u", shifted(sp.eval_chebyu)),
    ("shifted_chebyshev_polynomial_v", shifted(third)),
    ("shifted_chebyshev_polynomial_w", shifted(fourth)),
    ("hermite_polynomial_h", sp.eval_hermite),
    ("hermite_polynomial_he", sp.eval_hermitenorm),
    ("laguerre_polynomial_l", sp.eval_laguerre),
    ("legendre_polynomial_p", sp.eval_legendre),
]:
    _lo = 0.05 if _name.startswith("shifted") else -0.95
    binary(
        "special." + _name,
        polynomial(_ref),
        a={"lo": _lo, "hi": 0.95},
        b={"lo": 0, "hi": 14},
        method=False,
        dtypes=("float64", "float32"),
        grad=0,
        tol=50,
        nan=False,
        why="degrees are cut to integers",
        covers="special_pair",
    )
# … and the incomplete gamma functions (differentiable in x alone) and zeta (in q).
for _name, _ref in [("igamma", sp.gammainc), ("igammac", sp.gammaincc)]:
    row(
        _name,
        _ref,
        [
            S(t(3, 5, lo=0.2, hi=6), t(3, 5, lo=0.1, hi=9)),
            S(t(lo=20, hi=30), t(4, lo=15, hi=40)),
            S(t(2, 1, lo=0.01, hi=0.1), t(3, lo=0.01, hi=2)),
            S(t(1, fill=[1e5]), t(3, fill=[99500.0, 100010.0, 100700.0])),
        ],
        method=True,
        inplace=False,
        also="special.gammainc" + "c" * (_name == "igammac"),
        dtypes=("float64", "float32"),
        grad=0,
        tol=50,
        why="the derivative with respect to the first argument is not implemented",
        covers="special_pair",
        errors=[E(RuntimeError, (_name, "3", "4"), t(2, 3), t(2, 4))],
    )
    row(
        "Tensor." + _name,
        lambda a, x, ref=_ref: ref(a, x),
        [S(t(3, 4, lo=0.5, hi=4, grad=False), t(3, 4, lo=0.5, hi=6)), S(t(lo=1, hi=3, grad=False), t(5, lo=1, hi=4))],
        dtypes=("float64", "float32"),
        tol=8,
        gtol=8,
    )
row(
    "special.zeta",
    sp.zeta,
    [S(t(3, 5, lo=1.3, hi=8), t(3, 5, lo=0.2, hi=9)), S(t(4, lo=2, hi=30), t(lo=1, hi=40)), S(3.0, t(5, lo=1, hi=3))],
    dtypes=("float64", "float32"),
    grad=0,
    tol=8,
    why="the derivative with respect to the first argument is not implemented",
)
row(
    "special.zeta",
    sp.zeta,
    [S(2.5, t(5, lo=1, hi=3)), S(t(5, lo=2, hi=6, grad=False), t(5, lo=1, hi=3))],
    dtypes=("float64", "float32"),
    tol=8,
    gtol=8,
)
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
