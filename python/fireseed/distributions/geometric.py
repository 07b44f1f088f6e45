"""The geometric distribution."""

from __future__ import annotations

import fireseed as fs

from . import constraints
from .bernoulli import _Binary

__all__ = ["Geometric"]


class Geometric(_Binary):
    """Failures before the first success: P(k) = (1 - probs)^k probs."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs=None, logits=None, validate_args=None):
        super().__init__(probs, logits, validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            raise ValueError("Expected parameter probs of distribution Geometric to be positive, but found invalid values:\n"
                             f"{self.probs}")

    @property
    def mean(self):
        return 1.0 / self.probs - 1.0

    @property
    def mode(self):
        return fs.zeros_like(self.probs)

    @property
    def variance(self):
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape=()):
        with fs.no_grad():
            u = fs.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype)
            u = u.clamp(min=fs.finfo(self.probs.dtype).tiny)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value):
        self._validate_sample(value)
        probs = self.probs
        certain = (probs == 1) & (value == 0)
        failing = fs.where(certain, fs.zeros_like(probs), probs)
        return value * (-failing).log1p() + probs.log()

    def entropy(self):
        return fs.nn.functional.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
