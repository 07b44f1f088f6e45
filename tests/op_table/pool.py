# Rows of max, average and adaptive pooling in one to three dimensions.
import numpy as np

from .core import E, S, row, t
from .reference import adaptive, avg_pool, max_pool

fn = "nn.functional."
D = {"distinct": True}
SHAPES = {1: (2, 2, 9), 2: (1, 2, 5, 6), 3: (1, 2, 4, 4, 3)}
BIG = {1: (8, 32, 300), 2: (4, 8, 40, 41), 3: (2, 4, 12, 13, 14)}
for n in (1, 2, 3):
    x = t(*SHAPES[n], **D)
    row(
        fn + f"max_pool{n}d",
        max_pool(n),
        [
            S(x, 2),
            S(x, 3, 2, 1),
            S(x, 2, 1),
            S(x, 2, 2, 1, 1, True),
            S(x, 2, 1, 0, 2),
            S(t(*SHAPES[n][1:], **D), (2,) * n),
        ],
        covers=f"max_pool{n}d max_pool max_pool_with_indices max_pool_with_window max_pool_window_indices "
        "max_pool_window_backward",
        also=f"max_pool{n}d",
        errors=[
            E(RuntimeError, (f"max_pool{n}d",), t(*SHAPES[n]), 20),
            E(RuntimeError, (f"max_pool{n}d",), t(*SHAPES[n]), 2, 2, 2),
            E(RuntimeError, f"max_pool{n}d", t(3), 2),
        ],
        big=S(t(*BIG[n], **D), 3, 2, 1),
    )
    row(
        fn + f"max_pool{n}d",
        max_pool(n),
        [S(x, 2, return_indices=True), S(x, 3, 2, 1, return_indices=True)],
        out=("same", "int64"),
        layouts=True,
    )
    row(
        fn + f"avg_pool{n}d",
        avg_pool(n),
        [
            S(t(*SHAPES[n]), 2),
            S(t(*SHAPES[n]), 3, 2, 1),
            S(t(*SHAPES[n]), 2, 1, 1, True, False),
            S(t(*SHAPES[n][1:]), 2),
        ],
        covers=f"avg_pool{n}d avg_pool",
        tol=2,
        errors=[E(RuntimeError, (f"avg_pool{n}d",), t(*SHAPES[n]), 20)],
        big=S(t(*BIG[n]), 2),
    )
    row(
        fn + f"adaptive_avg_pool{n}d",
        adaptive(n, np.mean),
        [S(t(*SHAPES[n]), 1), S(t(*SHAPES[n]), 2), S(t(*SHAPES[n]), 3), S(t(*SHAPES[n][1:]), 2)],
        covers=f"adaptive_avg_pool{n}d adaptive_avg_pool",
        tol=2,
        big=S(t(*BIG[n]), 5),
    )
    row(
        fn + f"adaptive_max_pool{n}d",
        adaptive(n, np.max),
        [S(x, 1), S(x, 2), S(x, 3)],
        covers=f"adaptive_max_pool{n}d adaptive_max_pool",
    )
    row(
        fn + f"adaptive_max_pool{n}d",
        adaptive(n, np.max),
        [S(x, 2, return_indices=True)],
        out=("same", "int64"),
    )
row(
    fn + "max_pool2d",
    max_pool(2),
    [
        S(t(1, 2, 5, 6, **D), (2, 3), (1, 2), (1, 0)),
        S(
            t(
                1,
                1,
                4,
                4,
                fill=[[np.nan, 1, 2, 3], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, np.nan, 0.0]],
                grad=False,
            ),
            2,
        ),
    ],
)
row(fn + "avg_pool2d", avg_pool(2), [S(t(1, 2, 5, 6), (2, 3), (1, 2), (1, 1), divisor_override=4)], tol=2)
row(
    fn + "adaptive_avg_pool2d",
    adaptive(2, np.mean),
    [S(t(1, 2, 5, 6), (None, 2)), S(t(1, 2, 5, 6), (1, 3)), S(t(1, 2, 3, 3), (5, 4))],
    tol=2,
)
row(
    fn + "lp_pool2d",
    lambda x, p, k: (avg_pool(2)(np.abs(x) ** p, k) * k * k) ** (1 / p),
    [S(t(1, 2, 4, 4, lo=0.2), 2, 2)],
    tol=3,
)


def nearest(x, size=None, scale_factor=None, mode="nearest"):
    out = [
        size if isinstance(size, int) else size[j] if size else int(x.shape[2 + j] * scale_factor)
        for j in range(x.ndim - 2)
    ]
    for j, m in enumerate(out):
        x = np.take(x, [int(k * x.shape[2 + j] / m) for k in range(m)], 2 + j)
    return x


row(
    fn + "interpolate",
    nearest,
    [
        S(t(1, 2, 4), 8),
        S(t(1, 2, 3, 4), scale_factor=2),
        S(t(1, 2, 3, 4), (5, 7)),
        S(t(1, 1, 2, 2, 2), scale_factor=2),
    ],
)


def bilinear(x, size=None, scale_factor=None, mode="bilinear", align_corners=False):
    for j in (2, 3):
        n = x.shape[j]
        m = size[j - 2] if size else int(n * scale_factor)
        k = np.arange(m)
        p = k * (n - 1) / (m - 1) if align_corners else np.maximum((k + 0.5) * n / m - 0.5, 0)
        a = np.minimum(p.astype(int), n - 1)
        w = np.expand_dims(p - a, tuple(range(1, x.ndim - j)))
        x = np.take(x, a, j) * (1 - w) + np.take(x, np.minimum(a + 1, n - 1), j) * w
    return x


row(
    fn + "interpolate",
    bilinear,
    [
        S(t(1, 2, 3, 4), scale_factor=2, mode="bilinear"),
        S(t(1, 2, 3, 4), (5, 7), mode="bilinear", align_corners=True),
    ],
    tol=4,
)
