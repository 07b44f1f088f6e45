"""The Gumbel distribution."""

from __future__ import annotations

import math

import fireseed as fs

from .normal import _LocationScale

__all__ = ["Gumbel"]

_EULER = 0.57721566490153286060


class Gumbel(_LocationScale):
    """loc - scale * log(-log(u)) with u uniform in (0, 1)."""

    @property
    def mean(self):
        return self.loc + self.scale * _EULER

    @property
    def mode(self):
        return self.loc

    @property
    def stddev(self):
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self):
        return self.stddev**2

    def rsample(self, sample_shape=()):
        info = fs.finfo(self.loc.dtype)
        u = fs.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        u = info.tiny + u * (1 - info.eps - info.tiny)
        return self.loc - self.scale * (-u.log()).log()

    def log_prob(self, value):
        self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def cdf(self, value):
        self._validate_sample(value)
        return fs.exp(-fs.exp(-(value - self.loc) / self.scale))

    def entropy(self):
        return self.scale.log() + (1 + _EULER)
