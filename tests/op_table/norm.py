# Rows of batch, layer, group, instance and RMS normalisation.
import numpy as np

from .core import E, S, row, t

fn = "nn.functional."
WIDE = ("float64", "float32")


def channel(v, x):
    return 1 if v is None else v.reshape(1, -1, *[1] * (x.ndim - 2))


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes), x.var(axes)
    y = (x - channel(mean, x)) / np.sqrt(channel(var, x) + eps)
    return y * channel(weight, x) + (0 if bias is None else channel(bias, x))


def stats(n):
    """Running mean and variance: not differentiated; batch_norm changes them in training."""
    return t(n, grad=False), t(n, lo=0.5, hi=2, grad=False)


row(
    fn + "batch_norm",
    batch_norm,
    [
        S(t(4, 3), *stats(3), t(3), t(3)),
        S(t(2, 3, 4), *stats(3)),
        S(t(2, 3, 2, 2), *stats(3), t(3), t(3), eps=0.1),
    ],
    tol=4,
    gtol=2,
    covers="batch_norm batch_norm_train batch_norm_eval",
    errors=[
        E(RuntimeError, ("batch_norm", "3", "4"), t(2, 3, 4), *stats(4)),
        E((RuntimeError, ValueError), "", t(2, 3), None, None),
        E((RuntimeError, ValueError), "", t(1, 3), *stats(3), training=True),
    ],
)
row(
    fn + "batch_norm",
    batch_norm,
    [
        S(t(4, 3), None, None, t(3), t(3), True),
        S(t(2, 3, 4), None, None, training=True),
        S(t(2, 3, 2, 2), None, None, t(3), t(3), True, 0.1, 1e-3),
        S(t(2, 1, 2, 2, 2), None, None, t(1), t(1), True),
    ],
    tol=8,
    gtol=8,
    big=S(t(8, 16, 20, 21), None, None, t(16), t(16), True),
    dtypes=WIDE,
)


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


row(
    fn + "layer_norm",
    layer_norm,
    [
        S(t(3, 4), (4,), t(4), t(4)),
        S(t(3, 4), (4,)),
        S(t(2, 3, 4), (3, 4), t(3, 4), t(3, 4)),
        S(t(2, 3, 4), [4], t(4), None, 0.1),
        S(t(5), (5,)),
        S(t(2, 70), (70,), t(70), t(70)),
        S(t(0, 4), (4,)),
    ],
    tol=4,
    gtol=8,
    also="layer_norm",
    big=S(t(301, 402), (402,), t(402), t(402)),
    errors=[
        E(RuntimeError, ("layer_norm", "4", "5"), t(3, 4), (5,)),
        E(RuntimeError, "layer_norm", t(3, 4), (4,), t(5)),
        E((RuntimeError, ValueError), "layer_norm", t(3), ()),
    ],
)


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    g = x.reshape(x.shape[0], groups, -1)
    y = ((g - g.mean(-1, keepdims=True)) / np.sqrt(g.var(-1, keepdims=True) + eps)).reshape(x.shape)
    return y * channel(weight, x) + (0 if bias is None else channel(bias, x))


row(
    fn + "group_norm",
    group_norm,
    [S(t(2, 4, 3), 2, t(4), t(4)), S(t(2, 6, 2, 2), 3), S(t(2, 4), 1, t(4))],
    tol=4,
    gtol=8,
    big=S(t(8, 16, 20, 21), 4, t(16), t(16)),
    errors=[E(RuntimeError, ("4", "3"), t(2, 4, 3), 3), E(RuntimeError, "group_norm", t(2, 4, 3), 2, t(3))],
)


def instance_norm(x, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(2, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return y * channel(weight, x) + (0 if bias is None else channel(bias, x))


row(
    fn + "instance_norm",
    instance_norm,
    [S(t(2, 3, 4)), S(t(2, 3, 3, 2), weight=t(3), bias=t(3))],
    tol=4,
    gtol=8,
    dtypes=WIDE,
)
row(
    fn + "rms_norm",
    lambda x, shape, weight=None, eps=1e-6: x
    / np.sqrt((x * x).mean(tuple(range(-len(shape), 0)), keepdims=True) + eps)
    * (1 if weight is None else weight),
    [S(t(3, 4), (4,), t(4), 1e-3), S(t(2, 3, 4), (3, 4), eps=1e-3)],
    tol=4,
    gtol=4,
)


def local_response(x, size, alpha=1e-4, beta=0.75, k=1.0):
    sq = np.pad(x * x, [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2))
    return x / (k + alpha * sum(sq[:, j : j + x.shape[1]] for j in range(size)) / size) ** beta


row(
    fn + "local_response_norm",
    local_response,
    [S(t(2, 5, 3), 3, 0.1), S(t(1, 4, 2, 2), 2, 0.5, 0.5, 2.0)],
    tol=4,
    gtol=2,
    dtypes=WIDE,
)
