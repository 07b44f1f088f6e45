# Rows of convolutions and their transposes, unfold and fold.
import numpy as np

from .core import E, S, row, t
from .reference import conv, conv_transpose, tup

fn = "nn.functional."
COVERS = ("conv", "conv_backward_input", "conv_backward_weight", "conv_transpose", "convolution")

row(
    fn + "conv1d",
    conv,
    [
        S(t(2, 3, 8), t(4, 3, 3), t(4)),
        S(t(2, 3, 8), t(4, 3, 3)),
        S(t(1, 2, 9), t(2, 2, 3), t(2), 2, 1),
        S(t(1, 4, 9), t(2, 2, 2), None, 1, 0, 2, 2),
        S(t(3, 8), t(4, 3, 3), t(4)),
        S(t(1, 2, 7), t(2, 2, 4), None, padding="same"),
        S(t(1, 2, 7), t(2, 2, 3), None, padding="valid"),
        S(t(2, 3, 5), t(6, 1, 3), t(6), groups=3),
    ],
    tol=3,
    gtol=2,
    covers=COVERS,
    big=S(t(4, 16, 200), t(32, 16, 5), t(32), padding=2),
    errors=[
        E(RuntimeError, ("conv1d", "3", "4"), t(2, 3, 8), t(4, 4, 3)),
        E(RuntimeError, ("conv1d",), t(2, 3, 2), t(4, 3, 3)),
        E(RuntimeError, "conv1d", t(2, 3, 8, 8), t(4, 3, 3)),
        E(RuntimeError, ("conv1d", "5"), t(2, 3, 8), t(4, 3, 3), t(5)),
        E(RuntimeError, "conv1d", t(2, 3, 8), t(4, 3, 3), None, 0),
    ],
)
row(
    fn + "conv2d",
    conv,
    [
        S(t(2, 3, 5, 4), t(2, 3, 3, 2), t(2)),
        S(t(1, 2, 5, 6), t(3, 2, 3, 3), None, 2, 1),
        S(t(1, 2, 5, 6), t(2, 2, 3, 2), t(2), (2, 1), (1, 0), (1, 2)),
        S(t(1, 4, 4, 4), t(4, 2, 3, 3), t(4), 1, 1, 1, 2),
        S(t(1, 3, 4, 4), t(3, 1, 3, 3), None, padding=1, groups=3),
        S(t(3, 4, 4), t(2, 3, 1, 1), t(2)),
        S(t(1, 2, 4, 4), t(2, 2, 3, 3), None, padding="same"),
        S(t(0, 3, 4, 4), t(2, 3, 3, 3), t(2)),
        S(t(1, 1, 3, 3), t(1, 1, 3, 3)),
        S(t(3, 2, 3, 4), t(4, 2, 3, 4), t(4)),  # kernels as large as the image
        S(t(2, 4, 2, 3), t(6, 2, 2, 3), t(6), 2, 0, 1, 2),
        S(t(2, 2, 1, 3), t(2, 2, 1, 2), None, 1, 0, (3, 2)),
        S(t(3, 2, 1, 1), t(2, 2, 1, 1), t(2), 1, 0, 2),
    ],
    tol=4,
    gtol=3,
    big=S(t(4, 8, 24, 25), t(16, 8, 3, 3), t(16), padding=1),
    errors=[
        E(RuntimeError, ("conv2d", "3", "4"), t(2, 3, 8, 8), t(4, 4, 3, 3)),
        E(RuntimeError, "conv2d", t(2, 3, 2, 2), t(4, 3, 3, 3)),
        E(RuntimeError, "conv2d", t(3, 8), t(4, 3, 3, 3)),
        E(RuntimeError, ("conv2d", "groups"), t(2, 3, 8, 8), t(4, 3, 3, 3), groups=2),
        E((RuntimeError, ValueError), "", t(2, 3, 8, 8), t(4, 3, 3, 3), None, 2, "same"),
    ],
)
for case in [
    S(t(2, 16, 17, 19), t(33, 16, 3, 3), t(33), padding=1),
    S(t(1, 3, 33, 31), t(24, 3, 7, 7), None, 2, 3),
    S(t(2, 40, 9, 9), t(70, 40, 1, 1), t(70)),
    S(t(2, 32, 14, 14), t(32, 1, 3, 3), None, 1, 1, 1, 32),
    S(t(3, 8, 13, 13), t(12, 4, 5, 3), t(12), 2, (2, 1), (1, 2), 2),
    S(t(1, 1, 28, 28), t(8, 1, 5, 5), t(8)),
    S(t(37, 16, 5, 5), t(120, 16, 5, 5), t(120)),
]:
    row(fn + "conv2d", conv, [case], dtypes=("float32", "bfloat16"), grad=1, tol=8, big=case)
row(
    fn + "conv3d",
    conv,
    [
        S(t(1, 2, 3, 4, 3), t(2, 2, 2, 2, 2), t(2)),
        S(t(1, 2, 3, 3, 3), t(2, 1, 2, 2, 2), None, 2, 1, 1, 2),
        S(t(2, 4, 3, 3), t(1, 2, 2, 3, 2), None, padding=(1, 1, 0)),
    ],
    tol=4,
    gtol=3,
    big=S(t(2, 4, 9, 10, 11), t(8, 4, 3, 3, 3), t(8), padding=1),
    errors=[E(RuntimeError, ("conv3d", "2", "3"), t(1, 2, 4, 4, 4), t(2, 3, 2, 2, 2))],
)

row(
    fn + "conv_transpose1d",
    conv_transpose,
    [
        S(t(2, 3, 5), t(3, 4, 3), t(4)),
        S(t(1, 2, 5), t(2, 3, 3), None, 2, 1, 1),
        S(t(1, 4, 4), t(4, 1, 3), t(2), 1, 0, 0, 2, 2),
        S(t(3, 5), t(3, 2, 2), t(2), stride=2),
    ],
    tol=3,
    gtol=2,
    errors=[
        E(RuntimeError, ("conv_transpose1d", "3", "4"), t(2, 3, 5), t(4, 3, 3)),
        E(RuntimeError, ("conv_transpose1d",), t(2, 3, 5), t(3, 4, 3), None, 1, 0, 1),
    ],
)
row(
    fn + "conv_transpose2d",
    conv_transpose,
    [
        S(t(1, 3, 3, 4), t(3, 2, 3, 2), t(2)),
        S(t(1, 2, 3, 3), t(2, 2, 3, 3), None, 2, 1, 1),
        S(t(1, 4, 3, 3), t(4, 1, 2, 2), t(2), (2, 1), 0, 0, 2, 1),
        S(t(1, 2, 3, 3), t(2, 1, 2, 2), None, dilation=2),
        S(t(3, 2, 1, 1), t(2, 4, 3, 4), t(4)),  # one pixel
        S(t(2, 4, 1, 1), t(4, 3, 2, 2), t(6), 1, 0, 0, 2),
        S(t(2, 2, 1, 1), t(2, 3, 2, 2), t(3), 2),
        S(t(2, 2, 1, 1), t(2, 3, 3, 2), None, 1, (1, 0)),
        S(t(2, 2, 1, 1), t(2, 3, 2, 2), t(3), 1, 0, 0, 1, 2),
    ],
    tol=4,
    gtol=3,
    big=S(t(2, 8, 12, 13), t(8, 16, 4, 4), t(16), 2, 1),
)
row(
    fn + "conv_transpose3d",
    conv_transpose,
    [S(t(1, 2, 2, 3, 2), t(2, 2, 2, 2, 2), t(2)), S(t(1, 2, 2, 2, 2), t(2, 1, 3, 2, 2), None, 2, 1, 1)],
    tol=4,
    gtol=3,
)


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    k, d, p, s = (tup(v, 2) for v in (kernel_size, dilation, padding, stride))
    x = np.pad(x, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    oh, ow = ((x.shape[2 + j] - d[j] * (k[j] - 1) - 1) // s[j] + 1 for j in (0, 1))
    y = np.stack(
        [
            np.stack(
                [
                    x[
                        :,
                        :,
                        a * d[0] : a * d[0] + (oh - 1) * s[0] + 1 : s[0],
                        c * d[1] : c * d[1] + (ow - 1) * s[1] + 1 : s[1],
                    ]
                    for c in range(k[1])
                ],
                2,
            )
            for a in range(k[0])
        ],
        2,
    )
    return y.reshape(x.shape[0], -1, oh * ow)


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    o, k = tup(output_size, 2), tup(kernel_size, 2)
    c = x.shape[1] // (k[0] * k[1])
    y = np.zeros((x.shape[0], c) + o)
    eye = unfold(
        np.arange(1, y[0].size + 1, dtype=float).reshape((1, c) + o), kernel_size, dilation, padding, stride
    )[0]
    for n in range(x.shape[0]):
        for v, k in zip(x[n].reshape(-1), eye.reshape(-1).astype(int)):
            if k:
                y[n].reshape(-1)[k - 1] += v
    return y


row(
    fn + "unfold",
    unfold,
    [S(t(1, 2, 4, 5), 2), S(t(2, 2, 5, 5), (3, 2), 1, 1, 2), S(t(1, 1, 5, 5), 2, dilation=2)],
    covers="im2col",
)
row(
    fn + "fold",
    fold,
    [S(t(1, 8, 12), (4, 5), 2), S(t(1, 4, 9), (5, 5), 2, 1, 0, (2, 2))][:1]
    + [S(t(1, 4, 4), (4, 4), 2, stride=2)],
    covers="col2im",
)
