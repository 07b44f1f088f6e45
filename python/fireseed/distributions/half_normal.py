"""The half-normal distribution."""

from __future__ import annotations

import math

import fireseed as fs

from . import constraints
from .distribution import Distribution
from .normal import Normal

__all__ = ["HalfNormal"]


class HalfNormal(Distribution):
    """|x| with x normal of mean 0 and standard deviation ``scale``."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale, validate_args=None):
        self._normal = Normal(0, scale, validate_args=False)
        self.scale = self._normal.scale
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def mean(self):
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self):
        return fs.zeros_like(self.scale)

    @property
    def variance(self):
        return self.scale**2 * (1 - 2 / math.pi)

    def rsample(self, sample_shape=()):
        return self._normal.rsample(sample_shape).abs()

    def log_prob(self, value):
        self._validate_sample(value)
        density = self._normal.log_prob(value) + math.log(2)
        return fs.where(value >= 0, density, fs.full_like(density, -float("inf")))

    def cdf(self, value):
        self._validate_sample(value)
        return 2 * self._normal.cdf(value) - 1

    def icdf(self, value):
        return self._normal.icdf((value + 1) / 2)

    def entropy(self):
        return self._normal.entropy() - math.log(2)
