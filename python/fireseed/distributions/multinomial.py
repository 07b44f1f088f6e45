"""The multinomial distribution."""

from __future__ import annotations

import fireseed as fs

from . import constraints
from .categorical import Categorical
from .distribution import Distribution

__all__ = ["Multinomial"]


class Multinomial(Distribution):
    """Counts of ``total_count`` draws from a categorical distribution."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs, logits, validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @property
    def probs(self):
        return self._categorical.probs

    @property
    def logits(self):
        return self._categorical.logits

    @property
    def param_shape(self):
        return self._categorical.param_shape

    @property
    def support(self):
        return constraints.multinomial(self.total_count)

    @property
    def mean(self):
        return self.probs * self.total_count

    @property
    def variance(self):
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape=()):
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        return fs.nn.functional.one_hot(drawn, self._event_shape[0]).sum(0).to(self.probs.dtype)

    def log_prob(self, value):
        self._validate_sample(value)
        logits, value = fs.broadcast_tensors(self.logits, value)
        logits = fs.where((value == 0) & (logits == -float("inf")), fs.zeros_like(logits), logits)
        return fs.lgamma(value.sum(-1) + 1) - fs.lgamma(value + 1).sum(-1) + (logits * value).sum(-1)

    def entropy(self):
        # n H(probs) - log n! + sum over categories of E[log k!] with k binomial.
        n = self.total_count
        k = fs.arange(n + 1, dtype=self.probs.dtype)
        p = self.probs.unsqueeze(-1)
        last = fs.lgamma(k[-1] + 1)
        log_k = fs.lgamma(k + 1)
        pmf = (last - log_k - fs.lgamma(n - k + 1) + fs.xlogy(k, p) + fs.xlogy(n - k, 1 - p)).exp()
        return n * self._categorical.entropy() - last + (pmf * log_k).sum(-1).sum(-1)
