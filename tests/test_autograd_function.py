# Hooks on tensors, and autograd.Function: operations with a gradient written in Python.
import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order
from under_test import lib, raises_with

grad = lib.autograd.grad


def leaf(*values):
    return lib.tensor(list(values), dtype=lib.float64, requires_grad=True)


# ---------------------------------------------------------------- hooks


def test_tensor_hooks():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert seen == [[30, 30]] and x.grad.tolist() == [30, 30]
    handle.remove()
    (x * 1).sum().backward()
    assert len(seen) == 1
    with pytest.raises(RuntimeError):
        lib.ones(1).register_hook(lambda g: g)

    def bad(g):
        raise KeyError("from the hook")

    x.register_hook(bad)
    with pytest.raises(KeyError, match="from the hook"):
        (x * 2).sum().backward()


def test_hook_sees_the_sum():
    x = leaf(1.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y * 3 + y * 4).sum().backward()
    assert seen == [7]


def test_post_accumulate_and_retain_grad():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    y = x * 2
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [4, 8] and x.grad.tolist() == [8, 16] and seen == [[8, 16]]


# ---------------------------------------------------------------- Function


class Cube(lib.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * ctx.scale * g, None


def test_function():
    check_first_order(lambda x: Cube.apply(x, 2.0), [np.array([1.0, -2.0])])
    check_second_order(lambda x: Cube.apply(x, 2.0), [np.array([1.0, -2.0])])
    assert not Cube.apply(lib.ones(1), 1.0).requires_grad
    with lib.no_grad():
        assert not Cube.apply(leaf(1.0), 1.0).requires_grad
    y = Cube.apply(leaf(1.0), 1.0)
    assert "Cube" in y.grad_fn.name()


def test_function_with_several_results():
    class Split(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            assert ctx.needs_input_grad == (True, False)
            ctx.mark_non_differentiable(y)
            return x * 2, y, x + 1

        @staticmethod
        def backward(ctx, ga, gb, gc):
            return ga * 2 + gc, None

    x = leaf(1.0, 2.0)
    a, b, c = Split.apply(x, lib.ones(2, dtype=lib.float64))
    assert a.requires_grad and not b.requires_grad and c.requires_grad
    (a * 3).sum().backward()  # c gets no gradient: zeros arrive
    assert x.grad.tolist() == [6, 6]


def test_function_once_differentiable_and_errors():
    class Wrong(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g, g

    with pytest.raises(RuntimeError):
        Wrong.apply(leaf(1.0)).sum().backward()

    class Raises(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            raise ValueError("inside backward")

    with pytest.raises(ValueError, match="inside backward"):
        Raises.apply(leaf(1.0)).sum().backward()

    class Once(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @lib.autograd.function.once_differentiable
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = leaf(3.0)
    (g,) = grad(Once.apply(x).sum(), x, create_graph=True)
    assert g.item() == 6
    with pytest.raises(RuntimeError):
        grad(g.sum(), x)


def test_function_in_place():
    class AddOne(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(1.0)
    y = x * 3
    z = AddOne.apply(y)
    assert z.tolist() == [4] and y.tolist() == [4]
    z.sum().backward()
    assert x.grad.item() == 6


def test_function_materialises_and_checks_saved():
    class Optional(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            assert b is None
            return a * 2 * ctx.saved_tensors[0]

    x = leaf(1.0)
    a, b = Optional.apply(x)
    a.sum().backward()
    assert x.grad.item() == 2
    y = x * 1
    a, b = Optional.apply(y)
    with lib.no_grad():
        y.add_(1)
    with raises_with(RuntimeError, "modified"):
        a.sum().backward()
