# Rows of comparisons, logic and tests on values.
import numpy as np

from .core import ALL, FLOAT, NUM, E, S, b, binary, row, t, unary

INTS = {"ilo": 0, "ihi": 4}
for name, alias, op, ref in (
    ("eq", "", "__eq__", np.equal),
    ("ne", "not_equal", "__ne__", np.not_equal),
    ("lt", "less", "__lt__", np.less),
    ("le", "less_equal", "__le__", np.less_equal),
    ("gt", "greater", "__gt__", np.greater),
    ("ge", "greater_equal", "__ge__", np.greater_equal),
):
    binary(name, ref, a=INTS, b=INTS, dtypes=ALL, out="bool", grad=0, also=f"{alias} Tensor.{op}")
    row(
        name,
        ref,
        [S(t(3, 4, **INTS), 1), S(t(5, **INTS), 2), S(t(), 0)],
        dtypes=NUM,
        out="bool",
        grad=0,
        method=True,
    )
    row(name, ref, [S(t(3, 4, **INTS), 0.5)], dtypes=NUM, out="bool", grad=0, method=True)

for name, ref in (
    ("logical_and", np.logical_and),
    ("logical_or", np.logical_or),
    ("logical_xor", np.logical_xor),
):
    binary(name, ref, a=INTS, b=INTS, dtypes=ALL, out="bool", grad=0)
unary("logical_not", np.logical_not, dtypes=ALL, out="bool", grad=0, **INTS)
for name, ref in (
    ("isnan", np.isnan),
    ("isinf", np.isinf),
    ("isfinite", np.isfinite),
    ("isposinf", np.isposinf),
    ("isneginf", np.isneginf),
    ("signbit", np.signbit),
):
    unary(
        name,
        ref,
        dtypes=NUM if name != "signbit" else FLOAT,
        out="bool",
        grad=0,
        special=(np.inf, -np.inf, 0.0, -0.0, 1.0) if name == "signbit" else (np.nan, np.inf, -np.inf, 0.0),
    )

NEAR = [
    S(t(4, fill=[1.0, 2.0, np.nan, np.inf], grad=False), t(4, fill=[1.0, 2.1, np.nan, np.inf], grad=False)),
    S(t(3), t(3), atol=1.0),
    S(t(2, 3), t(3), rtol=0.5, atol=0.1),
    S(t(3, fill=[np.nan, 1, 2]), t(3, fill=[np.nan, 1, 3]), equal_nan=True),
]


def isclose(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    return np.isclose(x, y, rtol, atol, equal_nan)


row("isclose", isclose, NEAR, dtypes=("float64", "float32"), out="bool", grad=0, method=True)
row(
    "allclose",
    lambda *a, **k: bool(isclose(*a, **k).all()),
    NEAR + [S(t(3), t(3), atol=9.0)],
    dtypes=("float64",),
    grad=0,
    method=True,
)
row(
    "equal",
    lambda x, y: x.shape == y.shape and bool((x == y).all()),
    [
        S(t(3, **INTS), t(3, **INTS)),
        S(t(3), t(4)),
        S(t(2, fill=[1.0, 2.0]), t(2, fill=[1.0, 2.0])),
        S(t(0), t(0)),
    ],
    dtypes=("float64", "float32"),
    grad=0,
    method=True,
)
row(
    "isin",
    np.isin,
    [S(t(3, 4, **INTS), t(2, **INTS)), S(t(5, **INTS), t(3, **INTS))],
    dtypes=("float32", "int64"),
    out="bool",
    grad=0,
)
row(
    "isin",
    lambda x, y, invert: np.isin(x, y, invert=invert),
    [S(t(3, 4, **INTS), t(2, **INTS), invert=True)],
    dtypes=("int64",),
    out="bool",
    grad=0,
)

for name, ref in (("all", np.all), ("any", np.any)):

    def reduce(x, dim=None, keepdim=False, ref=ref):
        return ref(x, axis=dim, keepdims=keepdim)

    row(
        name,
        reduce,
        [
            S(t(3, 4, ilo=0, ihi=2)),
            S(t(3, 4, ilo=0, ihi=2), dim=1),
            S(t(3, 4, ilo=0, ihi=2), 0, True),
            S(b(2, 3, 4), dim=-2),
            S(t()),
            S(t(0)),
            S(t(0, 3), dim=0),
            S(t(2, 3, 4, ilo=0, ihi=2), dim=(0, 2)),
        ],
        dtypes=("bool", "float32", "int64", "int32"),
        out="bool",
        grad=0,
        method=True,
        errors=[E(IndexError, (name, "2"), t(2, 3), dim=2)],
        big=S(b(301, 402), dim=1),
    )
