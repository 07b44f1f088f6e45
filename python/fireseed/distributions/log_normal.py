"""The log-normal distribution."""

from __future__ import annotations

import fireseed as fs

from . import constraints
from .normal import Normal, _LocationScale

__all__ = ["LogNormal"]


class LogNormal(_LocationScale):
    """exp(x) with x normal of mean ``loc`` and standard deviation ``scale``."""

    support = constraints.positive

    @property
    def _normal(self):
        return Normal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self):
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self):
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self):
        square = self.scale**2
        return square.expm1() * (2 * self.loc + square).exp()

    def rsample(self, sample_shape=()):
        return self._normal.rsample(sample_shape).exp()

    def log_prob(self, value):
        self._validate_sample(value)
        x = fs.log(value)
        return self._normal.log_prob(x) - x

    def cdf(self, value):
        return self._normal.cdf(fs.log(value))

    def icdf(self, value):
        return self._normal.icdf(value).exp()

    def entropy(self):
        return self._normal.entropy() + self.loc
