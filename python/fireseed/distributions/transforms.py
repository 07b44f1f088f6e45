"""Invertible maps with the logarithms of their Jacobians."""

from __future__ import annotations

import math

import fireseed as fs

__all__ = [
    "AffineTransform",
    "ComposeTransform",
    "ExpTransform",
    "PowerTransform",
    "SigmoidTransform",
    "SoftplusTransform",
    "TanhTransform",
    "Transform",
    "identity_transform",
]


class Transform:
    """Base class. ``t(x)`` maps, ``t.inv`` is the inverse map, log_abs_det_jacobian(x, y) the log of |dy/dx|.

    With ``cache_size`` 1 the inverse of the last output is remembered instead of computed.
    """

    bijective = True
    sign = 1

    def __init__(self, cache_size=0):
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._last = (None, None)

    def __call__(self, x):
        if self._cache_size == 0:
            return self._call(x)
        if self._last[0] is not x:
            self._last = (x, self._call(x))
        return self._last[1]

    def _inv_call(self, y):
        if self._cache_size and self._last[1] is y:
            return self._last[0]
        x = self._inverse(y)
        if self._cache_size:
            self._last = (x, y)
        return x

    @property
    def inv(self):
        """The inverse transform."""
        return _Inverse(self)

    def _call(self, x):
        raise NotImplementedError

    def _inverse(self, y):
        raise NotImplementedError

    def log_abs_det_jacobian(self, x, y):
        raise NotImplementedError

    def __repr__(self):
        return type(self).__name__ + "()"


class _Inverse(Transform):
    def __init__(self, forward):
        super().__init__()
        self._forward = forward

    @property
    def inv(self):
        return self._forward

    @property
    def sign(self):
        return self._forward.sign

    def __call__(self, x):
        return self._forward._inv_call(x)

    def _inv_call(self, y):
        return self._forward(y)

    def log_abs_det_jacobian(self, x, y):
        return -self._forward.log_abs_det_jacobian(y, x)


class ComposeTransform(Transform):
    """Several transforms, the first one first."""

    def __init__(self, parts, cache_size=0):
        super().__init__(cache_size)
        self.parts = list(parts)

    @property
    def sign(self):
        return math.prod(p.sign for p in self.parts)

    def _call(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y):
        for part in reversed(self.parts):
            y = part._inv_call(y)
        return y

    def log_abs_det_jacobian(self, x, y):
        total = fs.zeros_like(x)
        for part in self.parts:
            z = part(x)
            total = total + part.log_abs_det_jacobian(x, z)
            x = z
        return total

    def __repr__(self):
        return "ComposeTransform([" + ", ".join(map(repr, self.parts)) + "])"


identity_transform = ComposeTransform([])


class ExpTransform(Transform):
    """y = exp(x)."""

    def _call(self, x):
        return x.exp()

    def _inverse(self, y):
        return y.log()

    def log_abs_det_jacobian(self, x, y):
        return x


class PowerTransform(Transform):
    """y = x^exponent, x > 0."""

    def __init__(self, exponent, cache_size=0):
        super().__init__(cache_size)
        self.exponent = exponent if isinstance(exponent, fs.Tensor) else fs.tensor(float(exponent))

    def _call(self, x):
        return x.pow(self.exponent)

    def _inverse(self, y):
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x, y):
        return (self.exponent * y / x).abs().log()


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))."""

    def _call(self, x):
        info = fs.finfo(x.dtype)
        return fs.sigmoid(x).clamp(min=info.tiny, max=1.0 - info.eps)

    def _inverse(self, y):
        info = fs.finfo(y.dtype)
        y = y.clamp(min=info.tiny, max=1.0 - info.eps)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x, y):
        return -fs.nn.functional.softplus(-x) - fs.nn.functional.softplus(x)


class SoftplusTransform(Transform):
    """y = log(1 + exp(x))."""

    def _call(self, x):
        return fs.nn.functional.softplus(x)

    def _inverse(self, y):
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x, y):
        return -fs.nn.functional.softplus(-x)


class TanhTransform(Transform):
    """y = tanh(x); use it with ``cache_size=1``, as the inverse loses digits near 1."""

    def _call(self, x):
        return x.tanh()

    def _inverse(self, y):
        return fs.atanh(y)

    def log_abs_det_jacobian(self, x, y):
        return 2.0 * (math.log(2.0) - x - fs.nn.functional.softplus(-2.0 * x))


class AffineTransform(Transform):
    """y = loc + scale * x; with ``event_dim`` the last dimensions are one event."""

    def __init__(self, loc, scale, event_dim=0, cache_size=0):
        super().__init__(cache_size)
        self.loc, self.scale, self.event_dim = loc, scale, event_dim

    @property
    def sign(self):
        if isinstance(self.scale, (int, float)):
            return (self.scale > 0) - (self.scale < 0)
        return self.scale.sign()

    def _call(self, x):
        return self.loc + self.scale * x

    def _inverse(self, y):
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x, y):
        if isinstance(self.scale, (int, float)):
            result = fs.full_like(x, math.log(abs(self.scale)))
        else:
            result = self.scale.abs().log().expand(x.shape)
        return result.sum(tuple(range(-self.event_dim, 0))) if self.event_dim else result
