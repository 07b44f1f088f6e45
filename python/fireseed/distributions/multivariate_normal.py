"""The multivariate normal distribution."""

from __future__ import annotations

import math

import fireseed as fs

from . import constraints
from .distribution import Distribution
from .utils import lazy_property

__all__ = ["MultivariateNormal"]


def _apply(matrix, vector):
    """matrix @ vector over batches: (..., n, n) and (..., n)."""
    return fs.matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


class MultivariateNormal(Distribution):
    """Normal distribution of vectors, with mean ``loc`` (..., n) and exactly one of three (..., n, n) matrices.

    covariance_matrix, its inverse precision_matrix, or its lower Cholesky factor scale_tril; the latter is the fastest.
    """

    arg_constraints = {"loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
                       "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        given = {name: m for name, m in given.items() if m is not None}
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        (name, matrix), = given.items()
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = fs.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        n = loc.shape[-1]
        self.loc = loc.expand((*batch, n))
        setattr(self, name, matrix.expand((*batch, n, n)))
        super().__init__(batch, (n,), validate_args=validate_args)
        if name == "scale_tril":
            self._tril = matrix
        elif name == "covariance_matrix":
            self._tril = fs.linalg.cholesky(matrix)
        else:  # P = (J L J)(J L J)^T with J the reversal gives the factor of P^-1 by one triangular solve
            reverse = fs.linalg.cholesky(matrix.flip(-2, -1)).flip(-2, -1).transpose(-2, -1)
            self._tril = fs.linalg.solve_triangular(reverse, fs.eye(n, dtype=matrix.dtype), upper=False)

    def expand(self, batch_shape, _instance=None):
        tril, self._tril = self._tril, None
        try:
            new = super().expand(batch_shape)
        finally:
            self._tril = tril
        new._tril = tril
        return new

    @lazy_property
    def scale_tril(self):
        return self._tril.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def covariance_matrix(self):
        full = fs.matmul(self._tril, self._tril.mT)
        return full.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def precision_matrix(self):
        full = fs.cholesky_inverse(self._tril)
        return full.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return self._tril.square().sum(-1).expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape=()):
        eps = fs.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).normal_()
        return self.loc + _apply(self._tril, eps)

    def _half_log_det(self):
        return self._tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        self._validate_sample(value)
        difference = (value - self.loc).unsqueeze(-1)
        shape = fs.broadcast_shapes(difference.shape[:-2], self._tril.shape[:-2])
        n = self._event_shape[0]
        white = fs.linalg.solve_triangular(self._tril.expand((*shape, n, n)), difference.expand((*shape, n, 1)),
                                           upper=False)
        return -0.5 * (n * math.log(2 * math.pi) + white.square().sum((-2, -1))) - self._half_log_det()

    def entropy(self):
        h = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
        return h.expand(self._batch_shape)
