"""The windows of the top-level namespace (hann_window and the like): periodic by default, any float dtype."""
from .. import _C
from .._python_api import strided
from . import windows


def _window(name, length, periodic, dtype, layout, device, requires_grad, formula):
    if not isinstance(length, int):
        raise TypeError(f"{name}(): argument 'window_length' (position 1) must be int, not {type(length).__name__}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    dtype = _C.get_default_dtype() if dtype is None else dtype
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if layout is not None and layout is not strided:
        raise RuntimeError(f"{name} is implemented for strided tensors only, got: {layout}")
    period = max(length if periodic else length - 1, 1)
    w = formula(period)(_C.arange(length, dtype=_C.float64, device=device)).to(dtype)
    return w.requires_grad_() if requires_grad else w


def _cosine_sum(name, a, length, periodic, dtype, layout, device, requires_grad):
    return _window(name, length, periodic, dtype, layout, device, requires_grad,
                   lambda period: windows.cosine_sum(a, length, period))


def hann_window(window_length, periodic=True, *, dtype=None, layout=strided, device=None, pin_memory=False,
                requires_grad=False):
    """0.5 - 0.5 cos(2 pi n / N), N = window_length if periodic, else window_length - 1."""
    return _cosine_sum("hann_window", (0.5, 0.5), window_length, periodic, dtype, layout, device, requires_grad)


def hamming_window(window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, layout=strided, device=None,
                   pin_memory=False, requires_grad=False):
    """alpha - beta cos(2 pi n / N), N = window_length if periodic, else window_length - 1."""
    return _cosine_sum("hamming_window", (alpha, beta), window_length, periodic, dtype, layout, device, requires_grad)


def blackman_window(window_length, periodic=True, *, dtype=None, layout=strided, device=None, pin_memory=False,
                    requires_grad=False):
    """0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N), N = window_length if periodic, else window_length - 1."""
    return _cosine_sum("blackman_window", (0.42, 0.5, 0.08), window_length, periodic, dtype, layout, device,
                       requires_grad)


def bartlett_window(window_length, periodic=True, *, dtype=None, layout=strided, device=None, pin_memory=False,
                    requires_grad=False):
    """The triangle 1 - |2 n / N - 1|, N = window_length if periodic, else window_length - 1."""
    def formula(period):
        return lambda n: 1 - _C.abs(2 * n / period - 1) if window_length != 1 else _C.ones_like(n)
    return _window("bartlett_window", window_length, periodic, dtype, layout, device, requires_grad, formula)


def kaiser_window(window_length, periodic=True, beta=12.0, *, dtype=None, layout=strided, device=None, pin_memory=False,
                  requires_grad=False):
    """I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta), N = window_length if periodic, else window_length - 1."""
    return _window("kaiser_window", window_length, periodic, dtype, layout, device, requires_grad,
                   lambda period: windows.bessel(beta, window_length, period))
