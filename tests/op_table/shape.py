# Rows of shape and view ops, joining and splitting, and rearrangement.
import numpy as np

from .core import ALL, E, S, row, t

X = t(2, 3, 4)


def any_dtype(name, ref, samples, **fields):
    fields.setdefault("dtypes", ALL)
    fields.setdefault("method", not name.startswith(("Tensor.", "nn.")))
    return row(name, ref, samples, **fields)


def sizes(s):
    return s[0] if len(s) == 1 and isinstance(s[0], (tuple, list)) else s


# ---- views
any_dtype(
    "Tensor.view",
    lambda x, *s: x.reshape(sizes(s)),
    [S(X, 6, 4), S(X, -1), S(X, (4, 6)), S(X, 2, -1, 2), S(t(), 1, 1), S(t(1, 1), ()), S(t(0, 3), 3, 0)],
    view=True,
    layouts=False,
    covers="view",
    why="a view of a strided tensor may be impossible",
    errors=[
        E(RuntimeError, ("view", "5", "24"), X, 5, -1),
        E(RuntimeError, ("view", "7"), X, 7),
        E(RuntimeError, "view", X, -1, -1),
        E(RuntimeError, "view", X, -2, 12),
    ],
)
any_dtype(
    "reshape",
    lambda x, s: x.reshape(s),
    [S(X, (6, 4)), S(X, (-1,)), S(X, [4, -1]), S(t(), (1, 1)), S(t(0, 3), (0,)), S(t(1), ())],
    view=True,
    errors=[
        E(RuntimeError, ("reshape", "7"), X, (7,)),
        E(RuntimeError, "reshape", X, (-1, -1)),
        E(RuntimeError, "reshape", t(0, 2), (-1, 0)),
    ],
)
any_dtype("Tensor.reshape", lambda x, *s: x.reshape(s), [S(X, 6, 4), S(X, -1)], view=True)
any_dtype("Tensor.view_as", lambda x, y: x.reshape(y.shape), [S(X, t(6, 4, grad=False))], layouts=False)
any_dtype("Tensor.reshape_as", lambda x, y: x.reshape(y.shape), [S(X, t(6, 4, grad=False))])
any_dtype(
    "flatten",
    lambda x, a=0, z=-1: x.reshape(x.shape[:a] + (-1,) + x.shape[z % max(x.ndim, 1) + 1 :])
    if x.ndim
    else x.reshape(1),
    [S(X), S(X, 1), S(X, 0, 1), S(t()), S(t(2, 0, 3), 1)][:4],
    view=True,
    errors=[E(IndexError, "flatten", X, 3), E(RuntimeError, "flatten", X, 2, 1)],
)
any_dtype(
    "unflatten",
    lambda x, d, s: x.reshape(x.shape[: d % x.ndim] + tuple(s) + x.shape[d % x.ndim + 1 :]),
    [S(t(6, 4), 0, (2, 3)), S(t(6, 4), -1, (2, 2)), S(t(2, 12), 1, (3, 4))],
    view=True,
    errors=[E(RuntimeError, ("unflatten", "6"), t(6, 4), 0, (4, 2))],
)
any_dtype("ravel", lambda x: x.reshape(-1), [S(X), S(t())])
any_dtype(
    "squeeze",
    lambda x, d=None: x.squeeze()
    if d is None
    else x.squeeze(tuple(k for k in (d if isinstance(d, tuple) else (d,)) if x.ndim and x.shape[k] == 1)),
    [S(t(1, 3, 1)), S(t(1, 3, 1), 0), S(t(1, 3, 1), 1), S(t(1, 3, 1), -1), S(t()), S(t(1, 3, 1, 2), (0, 2))],
    view=True,
    inplace=True,
    errors=[E(IndexError, ("squeeze", "3"), X, 3)],
)
any_dtype(
    "unsqueeze",
    lambda x, d: np.expand_dims(x, d),
    [S(X, 0), S(X, 3), S(X, -1), S(X, -4), S(t(), 0)],
    view=True,
    inplace=True,
    errors=[E(IndexError, ("unsqueeze", "4"), X, 4)],
)
any_dtype(
    "transpose",
    lambda x, a, c: np.swapaxes(x, a, c),
    [S(X, 0, 1), S(X, -1, 0), S(X, 1, 1)],
    view=True,
    also="swapaxes swapdims",
    errors=[E(IndexError, ("transpose", "3"), X, 0, 3)],
)
any_dtype("t", np.transpose, [S(t(2, 3)), S(t(3)), S(t())], view=True, errors=[E(RuntimeError, "t", X)])
any_dtype(
    "permute",
    lambda x, p: np.transpose(x, p),
    [S(X, (2, 0, 1)), S(X, (-1, 1, 0)), S(t(), ())],
    view=True,
    errors=[
        E(RuntimeError, "permute", X, (0, 1)),
        E(RuntimeError, "permute", X, (0, 0, 1)),
        E(IndexError, "permute", X, (0, 1, 3)),
    ],
)
any_dtype("Tensor.permute", lambda x, *p: np.transpose(x, p), [S(X, 2, 0, 1)], view=True)
any_dtype("movedim", np.moveaxis, [S(X, 0, 2), S(X, (0, 1), (1, 2)), S(X, -1, 0)], view=True, also="moveaxis")
any_dtype(
    "Tensor.expand",
    lambda x, *s: np.broadcast_to(
        x, [n if n >= 0 else m for n, m in zip(sizes(s), (1,) * (len(sizes(s)) - x.ndim) + x.shape)]
    ),
    [S(t(3, 1), 3, 4), S(t(3, 1), (2, 3, 4)), S(t(3, 1), -1, 4), S(t(), 2, 2), S(t(1), 0)],
    view=True,
    covers="expand",
    errors=[
        E(RuntimeError, ("expand", "3", "4"), t(3), 4),
        E(RuntimeError, "expand", t(2, 3), 3),
        E(RuntimeError, "expand", t(3), -1, 3),
    ],
)
any_dtype("Tensor.expand_as", lambda x, y: np.broadcast_to(x, y.shape), [S(t(3, 1), t(2, 3, 4, grad=False))])
any_dtype("broadcast_to", np.broadcast_to, [S(t(3, 1), (2, 3, 4))], errors=[E(RuntimeError, "", t(3), (4,))])
any_dtype(
    "broadcast_tensors",
    lambda *x: list(np.broadcast_arrays(*x)),
    [S(t(3, 1), t(4)), S(t(2, 1, 1), t(3, 1), t(4))],
    method=False,
    out=("same", "same", "same"),
)
any_dtype(
    "narrow",
    lambda x, d, s, n: np.take(x, range(s % max(x.shape[d], 1), s % max(x.shape[d], 1) + n), d),
    [S(X, 1, 1, 2), S(X, -1, 0, 4), S(X, 2, -2, 1), S(X, 0, 1, 0)],
    view=True,
    errors=[
        E(RuntimeError, ("narrow", "3"), X, 1, 2, 2),
        E(RuntimeError, "narrow", X, 0, 0, -1),
        E(IndexError, "narrow", X, 3, 0, 1),
    ],
    covers="slice",
)
any_dtype(
    "select",
    lambda x, d, k: np.take(x, k, d),
    [S(X, 1, 1), S(X, -1, -2), S(X, 0, 0)],
    view=True,
    errors=[
        E(IndexError, ("select", "3"), X, 1, 3),
        E(IndexError, "select", X, 3, 0),
        E(IndexError, "select", t(), 0, 0),
    ],
)
any_dtype(
    "diagonal",
    lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
    [S(t(3, 3)), S(t(3, 4), 1), S(t(3, 4), offset=-1), S(X, 0, 1, 2), S(t(2, 2), 5)],
    view=True,
)
any_dtype(
    "diag", np.diag, [S(t(3)), S(t(3, 3)), S(t(3, 4), 1), S(t(2), -1)], errors=[E(RuntimeError, "diag", X)]
)
any_dtype("diag_embed", lambda x: x[..., None] * np.eye(x.shape[-1], dtype=x.dtype), [S(t(3)), S(t(2, 3))])
any_dtype(
    "as_strided",
    lambda x, s, st, o=0: np.lib.stride_tricks.as_strided(
        x.reshape(-1)[o:], s, [k * x.itemsize for k in st]
    ).copy(),
    [S(X, (2, 3), (1, 2)), S(X, (3, 3), (4, 1), 2), S(t(6), (3, 3), (1, 1))],
    layouts=False,
    view=True,
    errors=[E(RuntimeError, "", t(3), (4,), (1,))],
)


def unfold_ref(x, d, size, step):
    n = (x.shape[d] - size) // step + 1
    return np.stack(
        [np.moveaxis(np.take(x, range(k * step, k * step + size), d), d, -1) for k in range(n)], axis=d
    )


any_dtype(
    "Tensor.unfold",
    unfold_ref,
    [S(t(7), 0, 3, 2), S(t(7), 0, 2, 1), S(t(2, 7), 1, 3, 1), S(t(7, 2), 0, 2, 3)],
    view=True,
    covers="unfold window_backward",
    errors=[E(RuntimeError, ("unfold", "8", "7"), t(7), 0, 8, 1), E(RuntimeError, "unfold", t(7), 0, 2, 0)],
)
row("Tensor.T", lambda x: x.T, [S(t(2, 3))], dtypes=ALL)
row("Tensor.mT", lambda x: np.swapaxes(x, -1, -2), [S(X)], dtypes=ALL)
any_dtype("detach", lambda x: x, [S(X)], grad=0, view=True)
any_dtype("atleast_1d", np.atleast_1d, [S(t()), S(X)], method=False)
any_dtype("atleast_2d", np.atleast_2d, [S(t()), S(t(3))], method=False)

# ---- joining
any_dtype(
    "cat",
    lambda xs, dim=0: np.concatenate(xs, dim),
    [
        S([t(2, 3), t(1, 3)]),
        S((t(2, 3), t(2, 1), t(2, 2)), dim=1),
        S([t(2, 3), t(2, 3)], -1),
        S([t(3)]),
        S([t(0, 3), t(2, 3)]),
    ],
    method=False,
    also="concat concatenate",
    big=S([t(301, 402), t(201, 402)]),
    errors=[
        E(RuntimeError, ("cat", "3", "4"), [t(2, 3), t(2, 4)]),
        E(RuntimeError, "cat", [t(2, 3), t(2)]),
        E(IndexError, "cat", [t(2, 3)], dim=2),
        E((RuntimeError, ValueError), "cat", []),
        E(RuntimeError, "cat", [t(), t()]),
    ],
)
row(
    "cat",
    lambda xs, dim=0: np.concatenate([x for x in xs if x.shape != (0,)], dim),
    [S([t(0), t(2, 3)]), S([t(2, 3), t(0), t(2, 3)], dim=1)],
)
any_dtype(
    "stack",
    lambda xs, dim=0: np.stack(xs, dim),
    [
        S([t(2, 3), t(2, 3)]),
        S([t(2, 3)] * 3, dim=1),
        S([t(2, 3), t(2, 3)], -1),
        S([t(), t()]),
        S([t(0, 2)] * 2),
    ],
    method=False,
    errors=[
        E(RuntimeError, ("stack", "3", "4"), [t(2, 3), t(2, 4)]),
        E((RuntimeError, ValueError), "stack", []),
        E(IndexError, "stack", [t(2)], dim=3),
    ],
    big=S([t(201, 402)] * 3, 1),
)
for name in ("hstack", "vstack", "dstack"):
    any_dtype(name, getattr(np, name), [S([t(2, 3), t(2, 3)]), S([t(3), t(3)])], method=False)
any_dtype("column_stack", np.column_stack, [S([t(3), t(3, 2)])], method=False)

# ---- splitting
SAME = ("same",)


def chunk_ref(x, n, dim=0):
    size = -(-x.shape[dim] // n)
    return [np.take(x, range(k, min(k + size, x.shape[dim])), dim) for k in range(0, x.shape[dim], size)]


def split_ref(x, n, dim=0):
    if isinstance(n, int):
        return [np.take(x, range(k, min(k + n, x.shape[dim])), dim) for k in range(0, x.shape[dim], n)]
    return np.split(x, np.cumsum(n)[:-1], dim)


any_dtype(
    "chunk",
    chunk_ref,
    [S(t(6, 4), 3), S(t(7), 3), S(t(2, 5), 2, dim=1)],
    out=SAME * 3,
    view=True,
    errors=[E(RuntimeError, "chunk", t(3), 0)],
)
any_dtype(
    "split",
    split_ref,
    [S(t(6, 4), 2), S(t(7), 3), S(t(2, 5), 2, dim=1), S(t(6), [1, 2, 3]), S(t(2, 6), [4, 2], dim=-1)],
    out=SAME * 3,
    view=True,
    errors=[E(RuntimeError, ("split", "6"), t(6), [1, 2]), E(RuntimeError, "split", t(6), -1)],
)
any_dtype(
    "unbind",
    lambda x, dim=0: [np.take(x, k, dim) for k in range(x.shape[dim])],
    [S(t(3, 2)), S(t(2, 3), dim=1), S(t(3))],
    out=SAME * 3,
    view=True,
    errors=[E(IndexError, "", t(3), 1)],
)
any_dtype(
    "tensor_split",
    lambda x, n, dim=0: np.array_split(x, n, dim),
    [S(t(7), 3), S(t(2, 5), 2, dim=1)],
    out=SAME * 3,
)

# ---- rearrangement
any_dtype(
    "flip",
    lambda x, d: np.flip(x, d),
    [S(X, (0,)), S(X, (0, 2)), S(X, [-1]), S(t(5), (0,))],
    big=S(t(301, 402), (0, 1)),
    errors=[E(IndexError, "flip", t(3), (1,))],
)
any_dtype("fliplr", np.fliplr, [S(t(2, 3))])
any_dtype("flipud", np.flipud, [S(t(2, 3))])
any_dtype("rot90", np.rot90, [S(t(2, 3), 1, (0, 1)), S(t(2, 3), 2, (0, 1)), S(t(2, 3), -1, (0, 1))])
any_dtype(
    "roll",
    lambda x, s, d=None: np.roll(x, s, d),
    [S(t(5), 2), S(X, 1, 1), S(X, (1, -2), (0, 2)), S(X, 3), S(t(0), 2)],
    big=S(t(301, 402), (3, -7), (0, 1)),
)
any_dtype(
    "Tensor.repeat",
    lambda x, *s: np.tile(x, sizes(s)),
    [S(t(2, 3), 2, 1), S(t(3), 2, 2), S(t(3), (4, 2)), S(t(2), 0)],
    covers="repeat",
    errors=[E(RuntimeError, "repeat", t(2, 3), 2)],
)
any_dtype("tile", lambda x, s: np.tile(x, s), [S(t(2, 3), (2,)), S(t(3), (2, 2))])
any_dtype(
    "repeat_interleave",
    lambda x, n, dim=None: np.repeat(x, n, dim),
    [S(t(2, 3), 2), S(t(2, 3), 3, dim=1), S(t(3), 0)],
)
any_dtype(
    "tril",
    np.tril,
    [S(t(3, 4)), S(t(3, 4), 1), S(t(2, 3, 3), -1)],
    inplace=True,
    big=S(t(301, 402)),
    errors=[E(RuntimeError, "tril", t(3))],
)
any_dtype(
    "triu",
    np.triu,
    [S(t(3, 4)), S(t(3, 4), 1), S(t(2, 3, 3), -1)],
    inplace=True,
    errors=[E(RuntimeError, "triu", t(3))],
)
any_dtype(
    "meshgrid",
    lambda *x, indexing: np.meshgrid(*x, indexing=indexing),
    [S(t(2), t(3), indexing="ij"), S(t(2), t(3), indexing="xy")],
    method=False,
    out=SAME * 2,
)
any_dtype(
    "cartesian_prod",
    lambda x, y: np.stack([np.repeat(x, len(y)), np.tile(y, len(x))], 1),
    [S(t(2), t(3))],
    method=False,
)


def pad(x, p, mode="constant", value=0.0):
    width = [(0, 0)] * (x.ndim - len(p) // 2) + [(p[k], p[k + 1]) for k in range(len(p) - 2, -1, -2)]
    crop = tuple(slice(max(-a, 0), n - max(-z, 0)) for (a, z), n in zip(width, x.shape))
    width = [(max(a, 0), max(z, 0)) for a, z in width]
    if mode == "constant":
        return np.pad(x[crop], width, constant_values=value)
    return np.pad(x[crop], width, mode={"replicate": "edge", "reflect": "reflect", "circular": "wrap"}[mode])


row(
    "nn.functional.pad",
    pad,
    [
        S(t(3), (1, 2)),
        S(t(2, 3), (1, 0, 2, 1)),
        S(X, (1, 1), "constant", 2.5),
        S(X, (-1, 2)),
        S(X, (0, 0, 0, 0, 1, 1)),
    ],
    covers="constant_pad",
    errors=[
        E(RuntimeError, "pad", t(3), (1,)),
        E(RuntimeError, "pad", t(3), (1, 1, 1, 1)),
        E(RuntimeError, "pad", t(3), (-2, -2)),
    ],
)
for mode in ("reflect", "replicate", "circular"):
    row(
        "nn.functional.pad",
        pad,
        [S(t(1, 2, 5), (1, 2), mode), S(t(1, 2, 4, 5), (1, 2, 2, 1), mode)],
        covers="mode_pad mode_pad_backward",
    )


def pixel_shuffle(x, r):
    n, c, h, w = x.shape
    return (
        x.reshape(n, c // r // r, r, r, h, w)
        .transpose(0, 1, 4, 2, 5, 3)
        .reshape(n, c // r // r, h * r, w * r)
    )


def pixel_unshuffle(x, r):
    n, c, h, w = x.shape
    return (
        x.reshape(n, c, h // r, r, w // r, r)
        .transpose(0, 1, 3, 5, 2, 4)
        .reshape(n, c * r * r, h // r, w // r)
    )


row(
    "nn.functional.pixel_shuffle",
    pixel_shuffle,
    [S(t(1, 8, 2, 3), 2)],
    errors=[E(RuntimeError, "pixel_shuffle", t(1, 7, 2, 2), 2)],
)
row("nn.functional.pixel_unshuffle", pixel_unshuffle, [S(t(1, 2, 4, 6), 2)])
