"""The Cauchy distribution."""

from __future__ import annotations

import math

import fireseed as fs

from .normal import _LocationScale

__all__ = ["Cauchy"]


class Cauchy(_LocationScale):
    """Density scale / (pi * (scale^2 + (x - loc)^2)); it has no mean."""

    @property
    def mean(self):
        return fs.full_like(self.loc, float("nan"))

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return fs.full_like(self.loc, float("inf"))

    def rsample(self, sample_shape=()):
        return self.loc + fs.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).cauchy_() * self.scale

    def log_prob(self, value):
        self._validate_sample(value)
        return -math.log(math.pi) - self.scale.log() - (((value - self.loc) / self.scale) ** 2).log1p()

    def cdf(self, value):
        self._validate_sample(value)
        return fs.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value):
        return fs.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self):
        return math.log(4 * math.pi) + self.scale.log()
