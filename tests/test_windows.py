# signal.windows and the top-level window functions against their formulas in numpy.
import importlib
import math

import numpy as np
import pytest
from under_test import LIB_NAME, lib, raises_with, to_numpy

windows = importlib.import_module(LIB_NAME + ".signal.windows")


def cosines(*weights):
    return lambda n, period: sum((-1) ** i * a * np.cos(2 * np.pi * i * n / period) for i, a in enumerate(weights))


def kaiser(beta):
    return lambda n, period: np.i0(beta * np.sqrt(np.maximum(0, 1 - (2 * n / period - 1) ** 2))) / np.i0(beta)


def triangle(n, period):
    return 1 - np.abs(2 * n / period - 1)


PERIODIC = {  # name: (arguments, formula of n and the period, name at the top level)
    "hann": ({}, cosines(0.5, 0.5), "hann_window"),
    "hamming": ({}, cosines(0.54, 0.46), "hamming_window"),
    "blackman": ({}, cosines(0.42, 0.5, 0.08), "blackman_window"),
    "nuttall": ({}, cosines(0.3635819, 0.4891775, 0.1365995, 0.0106411), None),
    "general_cosine": ({"a": [0.4, 0.3, 0.2]}, cosines(0.4, 0.3, 0.2), None),
    "general_hamming": ({"alpha": 0.6}, cosines(0.6, 0.4), None),
    "bartlett": ({}, triangle, "bartlett_window"),
    "kaiser": ({"beta": 8.0}, kaiser(8.0), None),
}
OTHERS = {  # name: (arguments, formula of n, the number of points and the point after the last, less one)
    "cosine": ({}, lambda n, size: np.sin(np.pi * (n + 0.5) / size)),
    "exponential": ({"tau": 2.0}, lambda n, size: np.exp(-np.abs(n - (size - 1) / 2) / 2.0)),
    "gaussian": ({"std": 3.0}, lambda n, size: np.exp(-0.5 * ((n - (size - 1) / 2) / 3.0) ** 2)),
}


def check(got, want, dtype):
    assert got.dtype == getattr(lib, dtype)
    np.testing.assert_allclose(to_numpy(got), want, rtol=1e-6, atol=1e-12 if dtype == "float64" else 2e-7)


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", [*PERIODIC, *OTHERS])
def test_signal_windows(name, sym):
    for m in (2, 5, 8, 33):
        n = np.arange(m)
        if name in PERIODIC:
            kwargs, formula, _ = PERIODIC[name]
            want = formula(n, m - 1 if sym else m)
        else:
            kwargs, formula = OTHERS[name]
            want = formula(n, m if sym else m + 1)
        for dtype in ("float32", "float64"):
            check(getattr(windows, name)(m, sym=sym, dtype=getattr(lib, dtype), **kwargs), want, dtype)


@pytest.mark.parametrize("name", [*PERIODIC, *OTHERS])
def test_no_points_and_one_point(name):
    kwargs = (PERIODIC.get(name) or OTHERS[name])[0]
    for sym in (True, False):
        assert getattr(windows, name)(0, sym=sym, **kwargs).shape == (0,)
        assert getattr(windows, name)(1, sym=sym, **kwargs).tolist() == [1.0]


@pytest.mark.parametrize("name", [n for n in PERIODIC if PERIODIC[n][2]])
def test_top_level_windows(name):
    _, formula, top = PERIODIC[name]
    f = getattr(lib, top)
    for m in (2, 5, 8):
        n = np.arange(m)
        check(f(m), formula(n, m), "float32")
        check(f(m, periodic=False, dtype=lib.float64), formula(n, m - 1), "float64")
    assert f(0).shape == (0,) and f(1).tolist() == f(1, False).tolist() == [1.0]
    assert f(4, dtype=lib.float16).dtype == lib.float16
    with raises_with(RuntimeError, top, "-1"):
        f(-1)
    with raises_with(RuntimeError, top, "int32"):
        f(3, dtype=lib.int32)
    with raises_with(TypeError, "window_length"):
        f(3.5)


def test_top_level_parameters():
    n = np.arange(6)
    check(lib.hamming_window(6, True, 0.6, 0.3), cosines(0.6, 0.3)(n, 6), "float32")
    check(lib.kaiser_window(6, False, 5.0), kaiser(5.0)(n, 5), "float32")


def test_requires_grad_and_center():
    assert windows.hann(4, requires_grad=True).requires_grad
    check(windows.exponential(5, center=1.0, sym=False), np.exp(-np.abs(np.arange(5) - 1.0)), "float32")


def test_errors():
    for name, (kwargs, *_) in {**PERIODIC, **OTHERS}.items():
        f = getattr(windows, name)
        with raises_with(ValueError, "non-negative", "-1"):
            f(-1, **kwargs)
        with raises_with(ValueError, "float32 or float64", "int64"):
            f(3, dtype=lib.int64, **kwargs)
    for call, text in [
        (lambda: windows.exponential(3, tau=-1), "Tau must be positive"),
        (lambda: windows.exponential(3, center=1.0), "Center must be None"),
        (lambda: windows.gaussian(3, std=0), "Standard deviation must be positive"),
        (lambda: windows.kaiser(3, beta=-1), "beta must be non-negative"),
        (lambda: windows.general_cosine(3, a=[]), "Coefficients cannot be empty"),
    ]:
        with raises_with(ValueError, text):
            call()
    with raises_with(TypeError, "Coefficients must be"):
        windows.general_cosine(3, a=math.pi)
