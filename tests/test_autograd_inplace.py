# In-place writes under autograd: views and their bases, version errors, writes into buffers, leaves.
import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order
from under_test import lib, raises_with


def leaf(*values):
    return lib.tensor(list(values), dtype=lib.float64, requires_grad=True)


def test_in_place_on_intermediate():
    def f(x):
        y = x * 2
        y.mul_(x)
        y += 1
        y.exp_()
        return y

    check_first_order(f, [np.array([0.3, -0.5])])
    check_second_order(f, [np.array([0.3, -0.5])])


@pytest.mark.parametrize(
    "name, view",
    [
        ("row", lambda y: y[1]),
        ("slice", lambda y: y[:, 1:]),
        ("transpose", lambda y: y.t()),
        ("view", lambda y: y.view(-1)),
        ("chain", lambda y: y.t()[1:].unsqueeze(0)[0, 0]),
        ("diagonal", lambda y: y.diagonal()),
        ("expand free", lambda y: y[None]),
        ("chunk", lambda y: y.narrow(1, 0, 2)),
        ("detachless flatten", lambda y: y.flatten()),
    ],
)
def test_in_place_on_a_view_changes_the_base(name, view):
    def f(x, w):
        y = x * 3
        v = view(y)
        v.mul_(w.sum())
        v += v.detach() * 0 + w[0]
        return y * y  # the base sees the writes, and gradients go through them

    arrays = [np.random.default_rng(0).normal(size=(3, 3)), np.array([0.7, -0.4])]
    check_first_order(f, arrays)
    check_second_order(f, arrays)


@pytest.mark.parametrize(
    "name, view",
    [
        ("row", lambda y: y[1]),
        ("transpose", lambda y: y.t()),
        ("view", lambda y: y.view(9)),
        ("column", lambda y: y[:, 0]),
    ],
)
def test_in_place_on_the_base_changes_views(name, view):
    def f(x):
        y = x * 3
        v = view(y)
        y.mul_(x)
        y[0] = 2.0
        return v * v

    check_first_order(f, [np.random.default_rng(0).normal(size=(3, 3))])


def test_two_views_of_one_base():
    def f(x):
        y = x * 1.0
        a, c = y[0], y[:, 1]
        a.mul_(2)
        c.mul_(3)
        a.add_(c.sum())
        return (y * y).sum() + (a * c).sum()

    check_first_order(f, [np.random.default_rng(0).normal(size=(3, 3))])


def test_writes_into_a_buffer():
    """The usual pattern: zeros that receive results which require grad."""

    def f(x):
        out = lib.zeros(3, 2, dtype=lib.float64)
        for k in range(3):
            out[k] = x[k] * (k + 1)
        return out

    check_first_order(f, [np.random.default_rng(0).normal(size=(3, 2))])
    x = lib.ones(2, requires_grad=True)
    buffer = lib.zeros(2)
    buffer[0] = x[0] * 2
    assert buffer.requires_grad and not buffer.is_leaf


def test_version_errors():
    """A tensor that backward needs was overwritten."""
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y * 1.0
    y.add_(1)
    with raises_with(RuntimeError, "modified", "exp", "version"):
        z.sum().backward()
    a, w = leaf(1.0, 2.0), lib.ones(2, dtype=lib.float64)
    out = (a * w).sum()
    w[0] = 5
    with raises_with(RuntimeError, "modified", "mul"):
        out.backward()
    v = lib.ones(3, dtype=lib.float64)
    out = (leaf(1.0, 2, 3) * v).sum()
    v.view(3, 1)[0].zero_()  # through a view
    with raises_with(RuntimeError, "modified"):
        out.backward()
    b = leaf(1.0)
    c = b * 2
    d = c + 1
    c.mul_(5)  # add does not need its inputs
    d.sum().backward()
    assert b.grad.item() == 2
    e = leaf(2.0)
    h = e * 1
    k = h.sigmoid()
    h.mul_(0)  # sigmoid needs its output only
    k.sum().backward()
    assert e.grad.item() == pytest.approx(0.1049935854)


def test_views_of_leaves():
    x = lib.ones(3, requires_grad=True)
    v = x[:2]
    with raises_with(RuntimeError, "leaf"):
        v.add_(1)
    with lib.no_grad():
        x[:2].add_(1)
    assert x.tolist() == [2, 2, 1] and x._version == 1


def test_detach_shares_and_counts():
    x = leaf(1.0, 2.0)
    y = x * x
    x.detach().add_(1)
    with raises_with(RuntimeError, "modified"):
        y.sum().backward()


def test_copy_and_clone_gradients():
    def f(x, y):
        z = (x * 1.0).clone()
        z.copy_(y * 2)
        z[0] = x[0]
        return z * z

    check_first_order(f, [np.array([1.0, 2.0]), np.array([0.5, -0.5])])
