# Slow and plain references for windows (float64): convolution, its transpose, pooling, in any dimension.
import itertools

import numpy as np


def tup(v, n):
    return (v,) * n if isinstance(v, int) else tuple(v) * (n if len(v) == 1 and n > 1 else 1)


def conv(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """x (N, C, *in) or (C, *in), w (O, C / groups, *k): cross-correlation by shifting whole arrays."""
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv(x[None], w, bias, stride, padding, dilation, groups)[0]
    s, d = tup(stride, n), tup(dilation, n)
    k = w.shape[2:]
    if padding == "same":
        total = [d[j] * (k[j] - 1) for j in range(n)]
        width = [(p // 2, p - p // 2) for p in total]
    else:
        width = [(p, p) for p in tup(0 if padding == "valid" else padding, n)]
    x = np.pad(x, [(0, 0), (0, 0)] + width)
    out = [(x.shape[2 + j] - d[j] * (k[j] - 1) - 1) // s[j] + 1 for j in range(n)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    ci, co = x.shape[1] // groups, w.shape[0] // groups
    for g in range(groups):
        for pos in itertools.product(*map(range, k)):
            window = x[
                (slice(None), slice(g * ci, (g + 1) * ci))
                + tuple(slice(pos[j] * d[j], pos[j] * d[j] + (out[j] - 1) * s[j] + 1, s[j]) for j in range(n))
            ]
            y[:, g * co : (g + 1) * co] += np.einsum(
                "nc...,oc->no...", window, w[(slice(g * co, (g + 1) * co), slice(None)) + pos]
            )
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


def conv_transpose(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """w (C, O / groups, *k): every input value adds w, scaled, to a window of the output."""
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv_transpose(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
    s, p, o, d = tup(stride, n), tup(padding, n), tup(output_padding, n), tup(dilation, n)
    k = w.shape[2:]
    full = [(x.shape[2 + j] - 1) * s[j] + d[j] * (k[j] - 1) + 1 + o[j] for j in range(n)]
    ci, co = x.shape[1] // groups, w.shape[1]
    y = np.zeros((x.shape[0], co * groups, *full))
    for g in range(groups):
        for pos in itertools.product(*map(range, k)):
            here = tuple(
                slice(pos[j] * d[j], pos[j] * d[j] + (x.shape[2 + j] - 1) * s[j] + 1, s[j]) for j in range(n)
            )
            y[(slice(None), slice(g * co, (g + 1) * co)) + here] += np.einsum(
                "nc...,co->no...",
                x[:, g * ci : (g + 1) * ci],
                w[(slice(g * ci, (g + 1) * ci), slice(None)) + pos],
            )
    y = y[(slice(None), slice(None)) + tuple(slice(p[j], full[j] - p[j]) for j in range(n))]
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


def windows(x, n, kernel, stride, padding, dilation=1, ceil_mode=False):
    """Yields (output sizes, output position, indices into x's last dimensions, padded window's size)."""
    k, s, p, d = (
        tup(kernel, n),
        tup(stride if stride not in (None, ()) else kernel, n),
        tup(padding, n),
        tup(dilation, n),
    )
    size = x.shape[-n:]
    out = []
    for j in range(n):
        length = size[j] + 2 * p[j] - d[j] * (k[j] - 1) - 1
        m = (-(-length // s[j]) if ceil_mode else length // s[j]) + 1
        if ceil_mode and (m - 1) * s[j] >= size[j] + p[j]:
            m -= 1
        out.append(m)
    for pos in itertools.product(*map(range, out)):
        start = [pos[j] * s[j] - p[j] for j in range(n)]
        index = [
            [q for q in range(start[j], start[j] + d[j] * k[j], d[j]) if 0 <= q < size[j]] for j in range(n)
        ]
        area = int(np.prod([min(start[j] + k[j], size[j] + p[j]) - start[j] for j in range(n)]))
        yield tuple(out), pos, index, area


def max_pool(n):
    def ref(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        lead = x.shape[:-n]
        y = where = None
        flat = np.arange(int(np.prod(x.shape[-n:]))).reshape(x.shape[-n:])
        for out, pos, index, _ in windows(x, n, kernel_size, stride, padding, dilation, ceil_mode):
            if y is None:
                y, where = np.zeros(lead + out), np.zeros(lead + out, np.int64)
            part = x[(Ellipsis, *np.ix_(*index))].reshape(*lead, -1)
            y[(Ellipsis, *pos)] = part.max(-1)
            where[(Ellipsis, *pos)] = flat[np.ix_(*index)].reshape(-1)[part.argmax(-1)]
        return (y, where) if return_indices else y

    return ref


def avg_pool(n):
    def ref(
        x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        y = None
        for out, pos, index, area in windows(x, n, kernel_size, stride, padding, 1, ceil_mode):
            if y is None:
                y = np.zeros(x.shape[:-n] + out)
            part = x[(Ellipsis, *np.ix_(*index))].reshape(*x.shape[:-n], -1)
            y[(Ellipsis, *pos)] = part.sum(-1) / (
                divisor_override or (area if count_include_pad else part.shape[-1])
            )
        return y

    return ref


def adaptive(n, f):
    """Adaptive pooling: output k covers [floor(k * size / out), ceil((k + 1) * size / out))."""

    def ref(x, output_size, return_indices=False):
        o = tup(output_size, n)
        o = tuple(x.shape[-n + j] if o[j] is None else o[j] for j in range(n))
        y = np.zeros(x.shape[:-n] + o)
        where = np.zeros(x.shape[:-n] + o, np.int64)
        flat = np.arange(int(np.prod(x.shape[-n:]))).reshape(x.shape[-n:])
        for pos in itertools.product(*map(range, o)):
            index = [
                range(pos[j] * x.shape[-n + j] // o[j], -(-(pos[j] + 1) * x.shape[-n + j] // o[j]))
                for j in range(n)
            ]
            part = x[(Ellipsis, *np.ix_(*index))].reshape(*x.shape[:-n], -1)
            y[(Ellipsis, *pos)] = f(part, axis=-1)
            where[(Ellipsis, *pos)] = flat[np.ix_(*index)].reshape(-1)[part.argmax(-1)]
        return (y, where) if return_indices else y

    return ref
