# Convolutions that go through Winograd's transform: their error against float64, every edge of the tiling, the switch.
import os
import subprocess
import sys

import numpy as np
import pytest
from under_test import IS_FIRESEED
from under_test import lib as fs

RNG = np.random.default_rng(5)
CONV = {3: "conv1d", 4: "conv2d", 5: "conv3d"}


def gradients(x, w, g, dtype, **kw):
    """The convolution and its gradients to input and weight, as float64 arrays."""
    x, w = (fs.tensor(a, dtype=dtype, requires_grad=True) for a in (x, w))
    y = getattr(fs.nn.functional, CONV[x.dim()])(x, w, **kw)
    y.backward(fs.tensor(g, dtype=dtype))
    return [t.detach().to(fs.float64).numpy() for t in (y, x.grad, w.grad)]


def inputs(xs, ws, padding, positive=False):
    pad = (padding,) * (len(xs) - 2) if isinstance(padding, int) else padding
    ys = (xs[0], ws[0]) + tuple(n + 2 * p - k + 1 for n, k, p in zip(xs[2:], ws[2:], pad))
    x, w, g = (RNG.standard_normal(s).astype("f4") for s in (xs, ws, ys))
    return (np.maximum(x, 0) if positive else x), w, g


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    "channels, size, taps",
    [(64, 24, 3), (128, 16, 3), (256, 14, 3), (512, 7, 3), (64, 16, 5), (256, 9, 5)],
)
def test_error_is_bounded(channels, size, taps, positive):
    """Within 4e-6 of the largest result, and in the mean within 2.5e-6 of the mean size, for all three kernels."""
    x, w, g = inputs((2, channels, size, size), (channels, channels, taps, taps), taps // 2, positive)
    want = gradients(x, w, g, fs.float64, padding=taps // 2)
    for got, ref in zip(gradients(x, w, g, fs.float32, padding=taps // 2), want):
        error = np.abs(got - ref)
        assert error.max() < 4e-6 * np.abs(ref).max()
        assert np.sqrt((error**2).mean()) < 2.5e-6 * np.sqrt((ref**2).mean())


@pytest.mark.parametrize(
    "xs, ws, padding",
    [((2, 17, h, w), (19, 17, 3, 3), p) for h, w, p in [(3, 3, 0), (4, 5, 1), (1, 9, 1), (6, 7, 2), (31, 2, 1)]]
    + [
        ((1, 6, 5, 300), (7, 6, 3, 3), 1),
        ((1, 8, 200, 3), (33, 8, 3, 3), (1, 0)),
        ((3, 40, 9, 9), (50, 40, 5, 5), 2),
        ((2, 6, 14, 14), (16, 6, 5, 5), 0),
        ((2, 9, 5, 70), (12, 9, 1, 3), (0, 1)),
        ((2, 9, 5, 70), (12, 9, 1, 5), (0, 3)),
        ((2, 16, 600), (48, 16, 3), 1),
        ((5, 16, 9), (48, 16, 5), 4),
        ((2, 10, 4, 6, 7), (11, 10, 3, 3, 3), 1),
        ((2, 10, 4, 6, 7), (11, 10, 2, 3, 3), (0, 2, 1)),
        ((1, 300, 6, 6), (130, 300, 3, 3), 1),
        ((40, 128, 6, 6), (200, 128, 3, 3), 1),
    ],
)
def test_shapes(xs, ws, padding):
    x, w, g = inputs(xs, ws, padding)
    want = gradients(x, w, g, fs.float64, padding=padding)
    for got, ref in zip(gradients(x, w, g, fs.float32, padding=padding), want):
        assert got.shape == ref.shape
        assert np.abs(got - ref).max() < 4e-6 * np.abs(ref).max()


def test_groups_depth_stride_and_bias():
    x, w = RNG.standard_normal((2, 48, 7, 9, 10)).astype("f4"), RNG.standard_normal((36, 16, 3, 3, 3)).astype("f4")
    b = RNG.standard_normal(36).astype("f4")
    kw = {"stride": (2, 1, 1), "padding": (1, 1, 2), "dilation": (2, 1, 1), "groups": 3}
    y, want = (
        fs.nn.functional.conv3d(*(fs.tensor(a, dtype=t) for a in (x, w, b)), **kw) for t in (fs.float32, fs.float64)
    )
    assert np.abs(y.numpy() - want.numpy()).max() < 4e-6 * np.abs(want.numpy()).max()


@pytest.mark.skipif(not IS_FIRESEED, reason="its own switch")
def test_switch():
    """FIRESEED_WINOGRAD=0 sums directly: other bits, a smaller error."""
    code = (
        "import numpy as np, fireseed as fs\n"
        "a = np.random.default_rng(1)\n"
        "x, w = a.standard_normal((2, 64, 16, 16)), a.standard_normal((64, 64, 3, 3))\n"
        "f = lambda t: fs.nn.functional.conv2d(fs.tensor(x, dtype=t), fs.tensor(w, dtype=t), padding=1).numpy()\n"
        "x, w = x.astype('f4'), w.astype('f4')\n"
        "want = f(fs.float64)\n"
        "print(np.sqrt(((f(fs.float32) - want) ** 2).mean() / (want ** 2).mean()))\n"
    )

    def error(value):
        env = dict(os.environ, FIRESEED_WINOGRAD=value)
        return float(subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True).stdout)

    assert error("0") < 0.8 * error("1") < 2.5e-6
