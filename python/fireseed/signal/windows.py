"""Window functions of M points: symmetric ones for filters (sym=True), periodic ones for spectra (sym=False).

All take dtype (float32 or float64, default the default dtype), layout, device and requires_grad. They are computed in
float64.
"""
import math
from collections.abc import Iterable

from .. import _C
from .._python_api import strided

__all__ = ["bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
           "hann", "kaiser", "nuttall"]


def _window(name, M, dtype, layout, device, requires_grad, formula):
    """formula(n), of the points n = 0 .. M - 1 in float64, in the dtype asked for."""
    dtype = _C.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and layout is not strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (_C.float32, _C.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    w = formula(_C.arange(M, dtype=_C.float64, device=device)).to(dtype)
    return w.requires_grad_() if requires_grad else w


def cosine_sum(a, M, period):
    """sum (-1)^i a_i cos(2 pi i n / period) as a formula of n; ones where M is 1."""
    def formula(n):
        if M == 1:
            return _C.ones_like(n)
        w = _C.zeros_like(n)
        for i, weight in enumerate(a):
            w = w + weight * (-1) ** i * _C.cos(2 * math.pi * i / period * n)
        return w
    return formula


def bessel(beta, M, period):
    """Kaiser's window as a formula of n."""
    def formula(n):
        if M == 1:
            return _C.ones_like(n)
        x = 2 * n / period - 1
        return _C.i0(beta * _C.sqrt((1 - x * x).clamp(min=0))) / _C.i0(_C.tensor(float(beta), dtype=_C.float64))
    return formula


def _period(M, sym):
    return M - 1 if sym and M > 1 else max(M, 1)


def exponential(M, *, center=None, tau=1.0, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """exp(-|n - center| / tau); center, only for periodic windows, defaults to the middle."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    middle = (M if not sym and M > 1 else M - 1) / 2 if center is None else center
    return _window("exponential", M, dtype, layout, device, requires_grad,
                   lambda n: _C.exp(-_C.abs(n - middle) / tau))


def cosine(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """sin(pi (n + 0.5) / M)."""
    points = M + 1 if not sym and M > 1 else max(M, 1)
    return _window("cosine", M, dtype, layout, device, requires_grad,
                   lambda n: _C.sin(math.pi / points * (n + 0.5)))


def gaussian(M, *, std=1.0, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """exp(-(n - middle)^2 / (2 std^2))."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    middle = (M if not sym and M > 1 else M - 1) / 2
    return _window("gaussian", M, dtype, layout, device, requires_grad,
                   lambda n: _C.exp(-0.5 * ((n - middle) / std) ** 2))


def kaiser(M, *, beta=12.0, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """I0(beta sqrt(1 - x^2)) / I0(beta) for x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _window("kaiser", M, dtype, layout, device, requires_grad, bessel(beta, M, _period(M, sym)))


def bartlett(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """The triangle 1 - |2 n / (M - 1) - 1|."""
    period = _period(M, sym)
    return _window("bartlett", M, dtype, layout, device, requires_grad,
                   lambda n: 1 - _C.abs(2 * n / period - 1) if M != 1 else _C.ones_like(n))


def general_cosine(M, *, a, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """sum over i of (-1)^i a[i] cos(2 pi i n / (M - 1))."""
    if M > 1:
        if not isinstance(a, Iterable):
            raise TypeError("Coefficients must be a list/tuple")
        if not a:
            raise ValueError("Coefficients cannot be empty")
    return _window("general_cosine", M, dtype, layout, device, requires_grad, cosine_sum(a, M, _period(M, sym)))


def general_hamming(M, *, alpha=0.54, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """alpha - (1 - alpha) cos(2 pi n / (M - 1))."""
    return general_cosine(M, a=[alpha, 1 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)


def hamming(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """0.54 - 0.46 cos(2 pi n / (M - 1))."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """0.5 - 0.5 cos(2 pi n / (M - 1))."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)


def nuttall(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Nuttall's four-term sum of cosines (the minimum 4-term Blackman-Harris window)."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout,
                          device=device, requires_grad=requires_grad)
