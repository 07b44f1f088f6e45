"""Distribution: the interface of all probability distributions, with checked parameters and values."""

from __future__ import annotations

import fireseed as fs

from . import constraints
from .utils import lazy_property

__all__ = ["Distribution"]


class Distribution:
    """A batch of independent distributions (``batch_shape``) over events of ``event_shape``.

    sample(shape) gives a tensor of shape + batch_shape + event_shape without gradients, rsample one that parameters get
    gradients through (where ``has_rsample``), log_prob(value) the logarithm of the density of each event.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: dict = {}
    support = None
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value):
        """Whether parameters and values are checked where ``validate_args`` is not given."""
        if value not in (True, False):
            raise ValueError(f"validate_args must be True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape = fs.Size(batch_shape)
        self._event_shape = fs.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for name, constraint in self.arg_constraints.items():
            if constraint is constraints.dependent:
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue  # not given: it follows from another parameter
            value = getattr(self, name)
            if not constraint.check(value).all():
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self):
        """The shape of the parameters: how many distributions there are."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of one sample of one distribution."""
        return self._event_shape

    def _extended_shape(self, sample_shape=()):
        return fs.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def sample(self, sample_shape=()):
        """Samples, of shape sample_shape + batch_shape + event_shape, without gradients."""
        with fs.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Samples as a function of the parameters, which get gradients through them."""
        raise NotImplementedError(f"{type(self).__name__}.rsample: samples are not differentiable; use sample()")

    def sample_n(self, n):
        """sample((n,)), its old name."""
        return self.sample((n,))

    def log_prob(self, value):
        """Logarithm of the density (or probability) at ``value``."""
        raise NotImplementedError(f"{type(self).__name__}.log_prob")

    def cdf(self, value):
        """Probability of at most ``value``."""
        raise NotImplementedError(f"{type(self).__name__}.cdf")

    def icdf(self, value):
        """The value whose cdf is ``value``."""
        raise NotImplementedError(f"{type(self).__name__}.icdf")

    def entropy(self):
        """Entropy in nats."""
        raise NotImplementedError(f"{type(self).__name__}.entropy")

    def perplexity(self):
        """exp(entropy)."""
        return fs.exp(self.entropy())

    def enumerate_support(self, expand=True):
        """All values a discrete distribution may give, along a new first dimension."""
        raise NotImplementedError(f"{type(self).__name__}.enumerate_support")

    def expand(self, batch_shape, _instance=None):
        """The same distribution with another batch shape, without copies."""
        batch_shape = fs.Size(batch_shape)
        new = type(self).__new__(type(self))
        for key, value in self.__dict__.items():
            if isinstance(value, fs.Tensor):
                inner = value.shape[len(self._batch_shape) :]
                value = value.expand((*batch_shape, *inner))
            elif isinstance(value, Distribution):
                value = value.expand(batch_shape)
            new.__dict__[key] = value
        new._batch_shape = batch_shape
        return new

    @property
    def mean(self):
        raise NotImplementedError(f"{type(self).__name__}.mean")

    @property
    def mode(self):
        raise NotImplementedError(f"{type(self).__name__}.mode")

    @property
    def variance(self):
        raise NotImplementedError(f"{type(self).__name__}.variance")

    @property
    def stddev(self):
        """Square root of the variance."""
        return self.variance.sqrt()

    def _validate_sample(self, value):
        if not self._validate_args:
            return
        if not isinstance(value, fs.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        n = len(self._event_shape)
        if n and tuple(value.shape[value.dim() - n :]) != tuple(self._event_shape):
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{tuple(value.shape)} vs {tuple(self._event_shape)}."
            )
        expected = (*self._batch_shape, *self._event_shape)
        for have, want in zip(reversed(value.shape), reversed(expected)):
            if have != 1 and want != 1 and have != want:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {tuple(value.shape)} vs {expected}."
                )
        support = self.support
        if support is not None and not support.check(value).all():
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self):
        parts = []
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                shown = value if value.numel() == 1 else tuple(value.shape)
                parts.append(f"{name}: {value.item() if value.numel() == 1 else fs.Size(shown)}")
        return f"{type(self).__name__}({', '.join(parts)})"
