# Distributions: densities against quadrature and sums, samples against densities, streams, gradients, errors.
import math

import numpy as np
import pytest
from under_test import lib, raises_with, to_numpy

D = lib.distributions


def t(x):
    return lib.tensor(x, dtype=lib.float64)


CONTINUOUS = {
    "Normal": lambda: D.Normal(t([0.3, -1.0]), t([0.5, 2.0])),
    "Uniform": lambda: D.Uniform(t([-1.0, 0.0]), t([2.0, 0.5])),
    "Exponential": lambda: D.Exponential(t([0.5, 3.0])),
    "Laplace": lambda: D.Laplace(t([0.3, -1.0]), t([0.5, 2.0])),
    "Gumbel": lambda: D.Gumbel(t([0.3, -1.0]), t([0.5, 2.0])),
    "HalfNormal": lambda: D.HalfNormal(t([0.5, 2.0])),
    "LogNormal": lambda: D.LogNormal(t([0.3, -1.0]), t([0.5, 0.8])),
}
DISCRETE = {
    "Bernoulli": lambda: D.Bernoulli(t([0.2, 0.9])),
    "Bernoulli of logits": lambda: D.Bernoulli(logits=t([-1.0, 3.0])),
    "Categorical": lambda: D.Categorical(t([[1.0, 2.0, 3.0, 0.5], [0.1, 0.1, 0.1, 0.7]])),
    "Categorical of logits": lambda: D.Categorical(logits=t([[1.0, 2.0, 3.0], [0.1, -0.1, 0.0]])),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_density_mean_variance_entropy(name):
    d = CONTINUOUS[name]()
    x = np.linspace(-60, 60, 960001)
    steps = lib.tensor(x).unsqueeze(-1)
    if name in ("Exponential", "HalfNormal", "LogNormal"):
        steps = steps[480001:]
    elif name == "Uniform":
        d = D.Uniform(d.low, d.high, validate_args=False)
    logp = to_numpy(d.log_prob(steps))
    p = np.exp(logp)
    values = to_numpy(steps)
    dx = x[1] - x[0]
    np.testing.assert_allclose(p.sum(0) * dx, 1, rtol=2e-3)
    mean = (p * values).sum(0) * dx
    np.testing.assert_allclose(to_numpy(d.mean), mean, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(to_numpy(d.variance), (p * (values - mean) ** 2).sum(0) * dx, rtol=5e-3)
    entropy = -np.where(p > 0, p * np.where(p > 0, logp, 0), 0).sum(0) * dx
    np.testing.assert_allclose(to_numpy(d.entropy()), entropy, rtol=3e-3, atol=3e-3)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_follow_the_cdf(name):
    d = CONTINUOUS[name]()
    lib.manual_seed(0)
    u = np.sort(to_numpy(d.cdf(d.sample((4000,)))), 0)
    distance = np.abs(u - (np.arange(1, 4001) / 4000)[:, None]).max()  # Kolmogorov and Smirnov
    assert distance < 1.7 / math.sqrt(4000)


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities(name):
    d = DISCRETE[name]()
    support = d.enumerate_support()
    p = to_numpy(d.log_prob(support).exp())
    np.testing.assert_allclose(p.sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(d.entropy()), -(p * np.log(p)).sum(0), rtol=1e-5)
    lib.manual_seed(0)
    drawn = to_numpy(d.sample((20000,)))
    for k, value in enumerate(to_numpy(support)):
        np.testing.assert_allclose((drawn == value).mean(0), p[k], atol=0.015)


def test_streams_are_those_of_the_functions_beneath():
    loc, scale = lib.tensor([0.0, 1.0]), lib.tensor([1.0, 2.0])
    probs = lib.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    for d, direct in [
        (D.Normal(loc, scale), lambda: lib.normal(loc.expand(3, 2), scale.expand(3, 2))),
        (D.Uniform(loc, loc + scale), lambda: loc + lib.rand(3, 2) * (loc + scale - loc)),
        (D.Bernoulli(probs[:, 0]), lambda: lib.bernoulli(probs[:, 0].expand(3, 2))),
        (D.Categorical(probs), lambda: lib.multinomial(probs, 3, True).t()),
        (D.Exponential(scale), lambda: lib.empty(3, 2).exponential_() / scale),
    ]:
        lib.manual_seed(5)
        a = d.sample((3,))
        lib.manual_seed(5)
        assert lib.equal(a, direct()), d


def test_shapes_and_expand():
    d = D.Normal(lib.zeros(4, 1), lib.ones(3))
    assert tuple(d.batch_shape) == (4, 3) and tuple(d.event_shape) == ()
    assert d.sample((2,)).shape == (2, 4, 3) and d.log_prob(lib.zeros(3)).shape == (4, 3)
    assert d.expand((5, 4, 3)).sample().shape == (5, 4, 3)
    c = D.Categorical(logits=lib.zeros(2, 5))
    assert c.sample((7,)).shape == (7, 2) and c.log_prob(lib.tensor(3)).shape == (2,)
    assert c.sample().dtype == lib.int64
    i = D.Independent(d, 1)
    assert tuple(i.batch_shape) == (4,) and tuple(i.event_shape) == (3,)
    assert i.log_prob(lib.zeros(4, 3)).shape == (4,) and i.entropy().shape == (4,)
    m = D.Multinomial(10, lib.tensor([0.2, 0.8]))
    assert m.sample((6,)).shape == (6, 2) and (m.sample((6,)).sum(-1) == 10).all()
    o = D.OneHotCategorical(lib.ones(3, 4))
    assert o.sample().shape == (3, 4) and (o.sample().sum(-1) == 1).all()
    assert D.Normal(0.0, 1.0).sample().shape == ()


def test_policy_gradient_and_reparametrisation():
    logits = lib.zeros(2, 3, requires_grad=True)
    d = D.Categorical(logits=logits)
    (-d.log_prob(lib.tensor([0, 2])).sum() + d.entropy().sum()).backward()
    np.testing.assert_allclose(to_numpy(logits.grad), [[-2 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, -2 / 3]], atol=1e-6)
    loc, scale = t([1.0]).requires_grad_(), t([2.0]).requires_grad_()
    d = D.Normal(loc, scale)
    assert not d.sample((3,)).requires_grad
    x = d.rsample((5,))
    x.sum().backward()
    assert loc.grad.item() == pytest.approx(5)
    assert scale.grad.item() == pytest.approx(((x.detach() - 1) / 2).sum().item())
    with pytest.raises(NotImplementedError):
        D.Bernoulli(t(0.5)).rsample()


def test_transformed():
    base = D.Normal(t([0.0, 1.0]), t([1.0, 0.5]))
    d = D.TransformedDistribution(base, D.ExpTransform())
    same = D.LogNormal(t([0.0, 1.0]), t([1.0, 0.5]))
    x = t([[0.5, 2.0], [1.5, 0.1]])
    np.testing.assert_allclose(to_numpy(d.log_prob(x)), to_numpy(same.log_prob(x)), rtol=1e-12)
    np.testing.assert_allclose(to_numpy(d.cdf(x)), to_numpy(same.cdf(x)), rtol=1e-12)
    squashed = D.TransformedDistribution(base, [D.TanhTransform(cache_size=1), D.AffineTransform(1.0, 2.0)])
    y = squashed.rsample((50,))
    assert ((y > -1) & (y < 3)).all()
    z = lib.atanh((y - 1) / 2)
    expected = base.log_prob(z) - lib.log(2 * (1 - lib.tanh(z) ** 2))
    np.testing.assert_allclose(to_numpy(squashed.log_prob(y)), to_numpy(expected), rtol=1e-6, atol=1e-6)
    for transform in (D.ExpTransform(), D.SigmoidTransform(), D.TanhTransform(), D.AffineTransform(1.0, -3.0),
                      D.SoftplusTransform(), D.SigmoidTransform().inv.inv,
                      D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.ExpTransform()])):
        x = t([-0.7, 0.2, 1.1]).requires_grad_()
        y = transform(x)
        np.testing.assert_allclose(to_numpy(transform.inv(y)), to_numpy(x), rtol=1e-9)
        (slope,) = lib.autograd.grad(y.sum(), x)
        np.testing.assert_allclose(to_numpy(transform.log_abs_det_jacobian(x, y)), np.log(np.abs(to_numpy(slope))), rtol=1e-9)


@pytest.mark.parametrize("pair", [
    lambda: (D.Normal(t(0.3), t(0.5)), D.Normal(t(-0.2), t(1.5))),
    lambda: (D.Laplace(t(0.3), t(0.5)), D.Laplace(t(-0.2), t(1.5))),
    lambda: (D.Exponential(t(2.0)), D.Exponential(t(0.7))),
    lambda: (D.Uniform(t(0.0), t(1.0)), D.Uniform(t(-1.0), t(2.0))),
    lambda: (D.Bernoulli(t(0.3)), D.Bernoulli(t(0.6))),
    lambda: (D.Categorical(t([0.2, 0.5, 0.3])), D.Categorical(t([0.6, 0.2, 0.2]))),
    lambda: (D.Independent(D.Normal(t([0.3, 1.0]), t([0.5, 1.0])), 1), D.Independent(D.Normal(t([0.0, 0.0]), t([1.0, 2.0])), 1)),
])
def test_divergence_is_the_mean_log_ratio(pair):
    p, q = pair()
    lib.manual_seed(0)
    x = p.sample((40000,))
    estimate = (p.log_prob(x) - q.log_prob(x)).mean().item()
    assert D.kl_divergence(p, q).item() == pytest.approx(estimate, rel=0.05, abs=0.01)
    assert D.kl_divergence(p, p).abs().item() < 1e-9


def test_divergence_by_nearest_type():
    class Mine(D.Normal):
        pass

    assert D.kl_divergence(Mine(t(0.0), t(1.0)), D.Normal(t(0.0), t(1.0))).item() == 0
    with pytest.raises(NotImplementedError):
        D.kl_divergence(D.Normal(t(0.0), t(1.0)), D.Cauchy(t(0.0), t(1.0)))


def test_errors():
    for make in [
        lambda: D.Normal(t([0.0]), t([-1.0])),
        lambda: D.Normal(t([float("nan")]), t([1.0])),
        lambda: D.Bernoulli(t([2.0])),
        lambda: D.Bernoulli(),
        lambda: D.Categorical(t([0.5, 0.5]), t([0.0, 0.0])),
        lambda: D.Categorical(t([[-1.0, 2.0]])),
        lambda: D.Categorical(t(0.5)),
        lambda: D.Uniform(t(1.0), t(0.0)),
        lambda: D.Normal(t(0.0), t(1.0)).log_prob(t([float("nan")])),
        lambda: D.Bernoulli(t(0.5)).log_prob(t([0.5])),
        lambda: D.Categorical(t([0.5, 0.5])).log_prob(lib.tensor([2])),
        lambda: D.Normal(t([0.0, 1.0]), t(1.0)).log_prob(t([0.0, 1.0, 2.0])),
        lambda: D.Independent(D.Normal(t(0.0), t(1.0)), 1),
    ]:
        with raises_with(ValueError):
            make()
    assert D.Normal(t(0.0), t(-1.0), validate_args=False).scale.item() == -1
