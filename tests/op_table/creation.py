# Rows of creation functions and conversions.
import numpy as np

from .core import ALL, FLOAT, NUM, E, S, row, t

row(
    "zeros",
    lambda *s: np.zeros(s[0] if s and isinstance(s[0], (tuple, list)) else s),
    [S(2, 3), S((2, 3)), S(0), S([4])],
    dtypes=("float32",),
    out="float32",
    grad=0,
    errors=[E(RuntimeError, ("zeros", "-1"), -1), E(TypeError, "", "a")],
)
row(
    "ones",
    lambda *s: np.ones(s[0] if s and isinstance(s[0], (tuple, list)) else s),
    [S(2, 3), S((2, 3))],
    dtypes=("float32",),
    out="float32",
    grad=0,
)
row("full", np.full, [S((2, 3), 1.5), S((), 2.5)], dtypes=("float32",), out="float32", grad=0)
row("full", np.full, [S((2, 3), 7)], dtypes=("int64",), out="int64", grad=0)
row("full", np.full, [S((2, 3), True)], dtypes=("bool",), out="bool", grad=0)
row(
    "arange",
    np.arange,
    [S(5), S(2, 7), S(1, 10, 3), S(5, 0, -2), S(3, 3)],
    dtypes=("int64",),
    out="int64",
    grad=0,
    errors=[E(RuntimeError, "arange", 0, 5, 0), E(RuntimeError, "arange", 0, 5, -1)],
)
row(
    "arange",
    np.arange,
    [S(5.0), S(0, 1, 0.1), S(1.0, -1.0, -0.25)],
    dtypes=("float32",),
    out="float32",
    grad=0,
)
row(
    "linspace",
    np.linspace,
    [S(0, 1, 5), S(-3.0, 10.0, 14), S(1, 2, 1), S(0, 1, 0)],
    dtypes=("float32",),
    out="float32",
    grad=0,
)
row(
    "logspace",
    lambda a, z, n: np.logspace(a, z, n),
    [S(0, 1, 5), S(-2, 1, 4)],
    dtypes=("float32",),
    out="float32",
    grad=0,
)
row("eye", np.eye, [S(3), S(2, 4)], dtypes=("float32",), out="float32", grad=0)
for name, value in (("zeros_like", 0), ("ones_like", 1)):
    row(name, lambda x, v=value: np.full(x.shape, v), [S(t(2, 3)), S(t()), S(t(0, 2))], dtypes=ALL, grad=0)
row("full_like", lambda x, v: np.full(x.shape, v), [S(t(2, 3), 1)], dtypes=ALL, grad=0)
row("Tensor.new_zeros", lambda x, *s: np.zeros(s), [S(t(3), 2, 4)], dtypes=ALL, grad=0)
row("Tensor.new_ones", lambda x, s: np.ones(s), [S(t(3), (2, 4))], dtypes=ALL, grad=0)
row("Tensor.new_full", lambda x, s, v: np.full(s, v), [S(t(3), (2, 4), 1)], dtypes=ALL, grad=0)
row(
    "tril_indices",
    lambda r, c, k=0: np.stack(np.tril_indices(r, k, c)),
    [S(3, 3), S(3, 4, 1)],
    dtypes=("int64",),
    out="int64",
    grad=0,
)
row(
    "triu_indices",
    lambda r, c, k=0: np.stack(np.triu_indices(r, k, c)),
    [S(3, 3), S(3, 4, 1)],
    dtypes=("int64",),
    out="int64",
    grad=0,
)

for name, dtype in (
    ("double", "float64"),
    ("float", "float32"),
    ("half", "float16"),
    ("bfloat16", "bfloat16"),
):
    row(
        f"Tensor.{name}",
        lambda x: x,
        [S(t(3, 4)), S(t()), S(t(0))],
        dtypes=ALL,
        out=dtype,
        grad=2 if name == "double" else 0,
    )
for name, dtype in (("long", "int64"), ("int", "int32"), ("short", "int16"), ("char", "int8")):
    row(f"Tensor.{name}", np.trunc, [S(t(3, 4)), S(t())], dtypes=NUM, out=dtype, grad=0)
row(
    "Tensor.bool",
    lambda x: x != 0,
    [S(t(3, 4, ilo=0, ihi=2)), S(t(3, fill=[0.0, 2.0, np.nan]))],
    dtypes=FLOAT,
    out="bool",
    grad=0,
)
row("Tensor.bool", lambda x: x != 0, [S(t(3, 4, ilo=0, ihi=2))], dtypes=ALL, out="bool", grad=0)
row("clone", lambda x: x, [S(t(3, 4)), S(t()), S(t(0, 2))], dtypes=ALL, method=True, covers="copy")
row("Tensor.contiguous", lambda x: x, [S(t(3, 4)), S(t())], dtypes=ALL, covers="copy")
row("Tensor.type_as", lambda x, y: x, [S(t(3), t(2))])
row(
    "Tensor.copy_",
    lambda x, y: np.broadcast_to(y, x.shape),
    [S(t(3, 4, grad=False), t(3, 4)), S(t(3, 4, grad=False), t(4))],
    dtypes=ALL,
    grad=0,
    covers="copy_into",
    layouts=False,
    writes=True,
    errors=[E(RuntimeError, ("copy_", "3", "4"), t(3), t(4))],
)
row(
    "Tensor.fill_",
    lambda x, v: np.full(x.shape, v),
    [S(t(3, 4, grad=False), 2)],
    dtypes=ALL,
    grad=0,
    layouts=False,
    writes=True,
    covers="fill",
)
row(
    "Tensor.zero_",
    lambda x: np.zeros(x.shape),
    [S(t(3, 4, grad=False))],
    dtypes=ALL,
    grad=0,
    layouts=False,
    writes=True,
)
