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


@pytest.mark.parametrize("shape", [(0, 6), (0, 3, 0, 6), (2, 0, 4)])
def test_in_place_on_a_view_of_nothing(shape):
    x = lib.ones(*shape, requires_grad=True)
    view = (x * 1)[..., ::2]
    view.copy_(lib.ones(*shape[:-1], shape[-1] // 2, requires_grad=True) * 2)
    (view * view).sum().backward()
    assert tuple(x.grad.shape) == shape


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


def test_views_made_under_no_grad_are_not_written_outside():
    x = lib.arange(4.0, requires_grad=True)
    with lib.no_grad():
        view = x[:2]
        view.mul_(2)
    for write in (lambda: view.add_(1), lambda: view[0].zero_()):
        with raises_with(RuntimeError, "no_grad mode"):
            write()
    assert x.tolist() == [0, 2, 2, 3]
    plain = lib.ones(4)
    with lib.no_grad():
        view = plain[:2]
    view.add_(1)
    assert plain.tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize("views", [lambda y: y.split(2), lambda y: y.chunk(2), lambda y: y.view(2, 2).unbind()])
def test_one_of_several_views_is_not_written(views):
    y = lib.arange(4.0, requires_grad=True) * 1
    first = views(y)[0]
    with raises_with(RuntimeError, "multiple views"):
        first.add_(1)
    with lib.no_grad():
        first.add_(1)
    assert views(lib.zeros(4))[0].add_(1).tolist() == [1, 1]


def test_a_view_from_a_function_is_not_written():
    class First(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x[:2]

        @staticmethod
        def backward(ctx, g):
            return lib.cat([g, lib.zeros(2)])

    y = First.apply(lib.ones(4, requires_grad=True) * 1)
    with raises_with(RuntimeError, "is a view and is being modified inplace"):
        y.add_(1)


def test_set_of_a_leaf_is_refused():
    x = lib.ones(3, requires_grad=True)
    with raises_with(RuntimeError, "leaf Variable that requires grad"):
        x.set_(lib.zeros(2))


def test_inference_tensors():
    with lib.inference_mode():
        x, y = lib.ones(2), lib.tensor([1.0]) * 2
    assert x.is_inference() and y.is_inference() and x[:1].is_inference()
    for refused in (lambda: x.add_(1), lambda: y.requires_grad_(), lambda: x._version,
                    lambda: lib.ones(1, requires_grad=True) * y):
        with pytest.raises(RuntimeError, match="[Ii]nference"):
            refused()
    assert not x.clone().is_inference()
