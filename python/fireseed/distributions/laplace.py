"""The Laplace distribution."""

from __future__ import annotations

import fireseed as fs

from .normal import _LocationScale

__all__ = ["Laplace"]


class Laplace(_LocationScale):
    """Density exp(-|x - loc| / scale) / (2 * scale)."""

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return 2 * self.scale**2

    @property
    def stddev(self):
        return 2**0.5 * self.scale

    def rsample(self, sample_shape=()):
        low = fs.finfo(self.loc.dtype).eps - 1
        u = fs.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).uniform_(low, 1)
        return self.loc - self.scale * u.sign() * fs.log1p(-u.abs())

    def log_prob(self, value):
        self._validate_sample(value)
        return -fs.log(2 * self.scale) - fs.abs(value - self.loc) / self.scale

    def cdf(self, value):
        self._validate_sample(value)
        d = value - self.loc
        return 0.5 - 0.5 * d.sign() * fs.expm1(-d.abs() / self.scale)

    def icdf(self, value):
        d = value - 0.5
        return self.loc - self.scale * d.sign() * fs.log1p(-2 * d.abs())

    def entropy(self):
        return 1 + fs.log(2 * self.scale)
