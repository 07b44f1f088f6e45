# Convolutions that read bands of the image or the image itself: strides, dilation, groups, against NumPy.
import numpy as np
import pytest
from under_test import lib as fs
from under_test import to_numpy

RNG = np.random.default_rng(6)


def reference(x, w, g, stride, padding, dilation, groups):
    """The convolution of images and its gradients, tap by tap."""
    n, c, h, wd = x.shape
    m, cg, kh, kw = w.shape
    padded = np.zeros((n, c, h + 2 * padding, wd + 2 * padding))
    padded[:, :, padding : padding + h, padding : padding + wd] = x
    y, gx, gw = np.zeros_like(g), np.zeros_like(padded), np.zeros_like(w)
    for i in range(groups):
        ci, mi = slice(i * cg, (i + 1) * cg), slice(i * m // groups, (i + 1) * m // groups)
        for ty in range(kh):
            for tx in range(kw):
                rows = slice(ty * dilation, ty * dilation + (g.shape[2] - 1) * stride + 1, stride)
                cols = slice(tx * dilation, tx * dilation + (g.shape[3] - 1) * stride + 1, stride)
                y[:, mi] += np.einsum("nchw,mc->nmhw", padded[:, ci, rows, cols], w[mi, :, ty, tx])
                gx[:, ci, rows, cols] += np.einsum("nmhw,mc->nchw", g[:, mi], w[mi, :, ty, tx])
                gw[mi, :, ty, tx] += np.einsum("nmhw,nchw->mc", g[:, mi], padded[:, ci, rows, cols])
    return y, gx[:, :, padding : padding + h, padding : padding + wd], gw


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "xs, ws, stride, padding, dilation, groups",
    [
        ((2, 3, 64, 61), (64, 3, 7, 7), 2, 3, 1, 1),
        ((3, 3, 40, 40), (33, 3, 8, 8), 8, 0, 1, 1),
        ((2, 3, 47, 50), (17, 3, 11, 11), 4, 2, 1, 1),
        ((9, 6, 14, 14), (16, 6, 5, 5), 1, 0, 1, 1),
        ((2, 64, 28, 30), (96, 64, 3, 3), 2, 1, 1, 1),
        ((1, 130, 14, 14), (70, 130, 3, 3), 2, 1, 1, 1),
        ((2, 20, 17, 40), (40, 20, 3, 3), 1, 2, 2, 1),
        ((2, 24, 15, 15), (48, 8, 3, 3), 1, 1, 1, 3),
        ((2, 24, 15, 16), (48, 8, 3, 3), 2, 1, 1, 3),
        ((2, 18, 16, 15), (36, 18, 4, 4), 2, 1, 1, 1),
        ((2, 1, 20, 20), (40, 1, 5, 5), 1, 2, 1, 1),
        ((2, 16, 10, 10), (32, 16, 3, 3), 3, 0, 1, 1),
        ((2, 30, 33, 30), (3, 30, 5, 5), 1, 2, 1, 1),
        ((2, 24, 16, 28), (24, 8, 3, 3), 1, 1, 1, 3),
        ((3, 20, 15, 17), (70, 20, 1, 1), 1, 0, 1, 1),
        ((3, 70, 15, 17), (20, 70, 1, 1), 1, 0, 1, 1),
        ((3, 24, 15, 17), (36, 8, 1, 1), 1, 0, 1, 3),
    ],
)
def test_against_numpy(dtype, xs, ws, stride, padding, dilation, groups):
    size = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(xs[2:], ws[2:])]
    x, w, g = (RNG.standard_normal(s) for s in (xs, ws, (xs[0], ws[0], *size)))
    want = reference(x, w, g, stride, padding, dilation, groups)
    threads, runs = fs.get_num_threads(), []
    for count in (1, 2):
        fs.set_num_threads(count)
        tx, tw = (fs.tensor(a, dtype=getattr(fs, dtype), requires_grad=True) for a in (x, w))
        y = fs.nn.functional.conv2d(tx, tw, None, stride, padding, dilation, groups)
        y.backward(fs.tensor(g, dtype=getattr(fs, dtype)))
        runs.append([to_numpy(t) for t in (y, tx.grad, tw.grad)])
    fs.set_num_threads(threads)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for got, again, ref in zip(*runs, want):
        assert np.array_equal(got, again)  # whatever the number of threads
        assert np.abs(got - ref).max() < tolerance * np.abs(ref).max()


@pytest.mark.parametrize(
    "ws, stride, groups", [((6, 4, 3, 3), 1, 1), ((40, 16, 3, 3), 2, 1), ((8, 2, 5, 5), 1, 2), ((9, 1, 3, 3), 1, 3)]
)
def test_an_empty_batch(ws, stride, groups):
    x, w = fs.ones(0, ws[1] * groups, 9, 9, requires_grad=True), fs.ones(*ws, requires_grad=True)
    y = fs.nn.functional.conv2d(x, w, None, stride, 1, 1, groups)
    y.sum().backward()
    assert y.shape[:2] == (0, ws[0]) and x.grad.shape == x.shape
    assert to_numpy(w.grad).shape == ws and not to_numpy(w.grad).any()
