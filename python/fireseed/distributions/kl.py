"""Kullback-Leibler divergences, by pairs of types."""

from __future__ import annotations

import math

import fireseed as fs

from .bernoulli import Bernoulli
from .categorical import Categorical
from .distribution import Distribution
from .exponential import Exponential
from .independent import Independent
from .laplace import Laplace
from .log_normal import LogNormal
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .uniform import Uniform

__all__ = ["kl_divergence", "register_kl"]

_RULES: dict = {}


def register_kl(type_p, type_q):
    """Decorator: the function computes KL(p || q) for these types and, where there is nothing nearer, subclasses."""
    for t in (type_p, type_q):
        if not (isinstance(t, type) and issubclass(t, Distribution)):
            raise TypeError(f"Expected a Distribution subclass but got {t}")

    def decorator(function):
        _RULES[type_p, type_q] = function
        return function

    return decorator


def kl_divergence(p, q):
    """KL(p || q) = E_p[log p - log q], of the distributions' batch shape."""
    best = None
    for (a, b), function in _RULES.items():
        if isinstance(p, a) and isinstance(q, b):
            distance = (type(p).__mro__.index(a), type(q).__mro__.index(b))
            if best is None or distance < best[0]:
                best = (distance, function)
    if best is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    return best[1](p, q)


@register_kl(Normal, Normal)
def _normal_normal(p, q):
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
def _log_normal_log_normal(p, q):
    return _normal_normal(p, q)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p, q):
    softplus = fs.nn.functional.softplus
    a = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    b = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return a + b


@register_kl(Categorical, Categorical)
def _categorical_categorical(p, q):
    t = p.probs * (p.logits - q.logits)
    t = fs.where((q.probs == 0).expand(t.shape), fs.full_like(t, math.inf), t)
    t = fs.where((p.probs == 0).expand(t.shape), fs.zeros_like(t), t)
    return t.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p, q):
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(Exponential, Exponential)
def _exponential_exponential(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Laplace, Laplace)
def _laplace_laplace(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * fs.exp(-distance / p.scale) - 1


@register_kl(Uniform, Uniform)
def _uniform_uniform(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return fs.where((q.low > p.low) | (q.high < p.high), fs.full_like(result, math.inf), result)


@register_kl(Independent, Independent)
def _independent_independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL of Independent distributions with different reinterpreted_batch_ndims")
    return p._sum(kl_divergence(p.base_dist, q.base_dist))


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with different event shapes cannot be computed")
    n = p.event_shape[0]
    shape = fs.broadcast_shapes(p.batch_shape, q.batch_shape)
    q_tril = q.scale_tril.expand((*shape, n, n))
    spread = fs.linalg.solve_triangular(q_tril, p.scale_tril.expand((*shape, n, n)), upper=False)
    shift = fs.linalg.solve_triangular(q_tril, (q.loc - p.loc).expand((*shape, n)).unsqueeze(-1), upper=False)
    squares = spread.square().sum((-2, -1)) + shift.square().sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (squares - n)
