# Rows of scaled dot product attention.
import numpy as np

from .core import E, S, b, row, t


def attention(q, k, v, mask=None, dropout=0.0, causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    s = q @ np.swapaxes(k, -1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        mask = np.tril(np.ones(s.shape[-2:], bool))
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    top = s.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ v


def qkv(*lead, queries=3, keys=5, size=4, values=4, heads=None):
    shared = lead if heads is None else (*lead[:-1], heads)
    return t(*lead, queries, size), t(*shared, keys, size), t(*shared, keys, values)


def constant_mask(*shape):
    return t(*shape, grad=False)


name = "nn.functional.scaled_dot_product_attention"
row(
    name,
    attention,
    [
        S(*qkv(2, 2)),
        S(*qkv(2, 2), t(3, 5)),  # a mask that wants a gradient: not fused
        S(*qkv(2, 2), constant_mask(2, 1, 3, 5)),
        S(*qkv(2, 2), b(2, 3, 5)),
        S(*qkv(), b(3, 5, fill=[[0] * 5, [1, 0, 1, 0, 1], [1] * 5])),  # a row that sees nothing
        S(*qkv(2, queries=4, keys=4), None, 0.0, True),
        S(*qkv(1, queries=2, keys=5), None, 0.0, True, scale=0.3),
        S(*qkv(3, size=1, values=7)),
        S(*qkv(2, 4, heads=2), enable_gqa=True),
        S(*qkv(1, 2, heads=1, queries=4, keys=4), None, 0.0, True, enable_gqa=True),
        S(*qkv(2, queries=40, keys=37, size=3, values=2)),
        S(*qkv(2, queries=6, keys=33, size=3, values=16)),
        S(*qkv(2, queries=6, keys=0)),
        S(*qkv(2, queries=0, values=0)),
    ],
    tol=8,
    gtol=4,
    covers="attention attention_backward",
    big=S(*qkv(1, 2, queries=300, keys=700, size=40, values=24)),
    errors=[
        E(RuntimeError, "", t(3, 4), t(5, 6), t(5, 4)),
        E(RuntimeError, "", t(3, 4), t(5, 4), t(6, 4)),
        E(RuntimeError, "", t(2, 3, 4), t(3, 5, 4), t(3, 5, 4)),
        E(RuntimeError, "is_causal", t(3, 4), t(3, 4), t(3, 4), b(3, 3), 0.0, True),
        E((RuntimeError, ValueError), "", t(4), t(3, 4), t(3, 4)),
        E(RuntimeError, "", *qkv(2, 3, heads=2), enable_gqa=True),
    ],
)
row(
    name,
    attention,
    [S(*qkv(2, 1, queries=40, keys=40), None, 0.0, True)],
    tol=8,
    gtol=4,
    big=S(*qkv(1, 2, queries=1100, keys=1100, size=16, values=16), None, 0.0, True),
)
