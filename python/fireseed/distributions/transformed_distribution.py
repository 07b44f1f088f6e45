"""Distributions of transformed variables."""

from __future__ import annotations

from .distribution import Distribution
from .transforms import Transform

__all__ = ["TransformedDistribution"]


class TransformedDistribution(Distribution):
    """The distribution of t(x) for x from ``base_distribution`` and t a transform or a list of them."""

    def __init__(self, base_distribution, transforms, validate_args=None):
        transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for t in transforms:
            if not isinstance(t, Transform):
                raise ValueError(f"transforms must be a Transform or a list of Transforms, but was {transforms}")
        self.base_dist, self.transforms = base_distribution, transforms
        super().__init__(base_distribution.batch_shape, base_distribution.event_shape, validate_args)

    @property
    def has_rsample(self):
        return self.base_dist.has_rsample

    def _through(self, x):
        for t in self.transforms:
            x = t(x)
        return x

    def sample(self, sample_shape=()):
        return self._through(self.base_dist.sample(sample_shape)).detach()

    def rsample(self, sample_shape=()):
        return self._through(self.base_dist.rsample(sample_shape))

    def log_prob(self, value):
        n = len(self._event_shape)
        total, y = 0.0, value
        for t in reversed(self.transforms):
            x = t._inv_call(y)
            jacobian = t.log_abs_det_jacobian(x, y)
            if n and jacobian.dim() >= n and getattr(t, "event_dim", 0) == 0:
                jacobian = jacobian.sum(tuple(range(-n, 0)))
            total = total - jacobian
            y = x
        return self.base_dist.log_prob(y) + total

    def cdf(self, value):
        sign = 1
        for t in reversed(self.transforms):
            sign = sign * t.sign
            value = t._inv_call(value)
        p = self.base_dist.cdf(value)
        return sign * (p - 0.5) + 0.5

    def icdf(self, value):
        sign = 1
        for t in self.transforms:
            sign = sign * t.sign
        return self._through(self.base_dist.icdf(sign * (value - 0.5) + 0.5))
