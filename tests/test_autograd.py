# Autograd beyond single ops: accumulation, graphs, views with in-place writes, versions, hooks, Function, modes, depth.
import gc
import weakref

import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order
from under_test import IS_FIRESEED, lib, nn, raises_with, to_numpy

grad = lib.autograd.grad


def leaf(*values):
    return lib.tensor(list(values), dtype=lib.float64, requires_grad=True)


# ---------------------------------------------------------------- backward and .grad

def test_accumulation():
    x = leaf(1, 2)
    (x * x).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and x.grad.tolist() == [5, 7]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]
    x.grad.zero_()
    assert x.grad.tolist() == [0, 0]


def test_gradient_argument():
    x = leaf(1, 2)
    y = x * x
    y.backward(lib.tensor([1.0, 10.0], dtype=lib.float64))
    assert x.grad.tolist() == [2, 40]
    with raises_with(RuntimeError, "scalar"):
        (x * x).backward()
    with raises_with(RuntimeError, "3", "2"):
        (x * x).backward(lib.ones(3, dtype=lib.float64))
    with pytest.raises(RuntimeError):
        lib.ones(1).backward()
    lib.autograd.backward([(x * 2).sum(), (x * 3).sum()])
    assert x.grad.tolist() == [7, 45]


def test_shared_subexpressions():
    """Every node runs once, with the sum of what arrives: x used many times, diamonds, x + x."""
    x = leaf(2)
    y = x * x
    z = y * y + y + x
    z.sum().backward()
    assert x.grad.item() == 4 * 8 + 2 * 2 + 1
    x.grad = None
    y = x
    for _ in range(30):
        y = y + y  # 2^30 paths
    y.backward(lib.ones(1, dtype=lib.float64))
    assert x.grad.item() == 2.0 ** 30


def test_grad_function():
    x, y, unused = leaf(1, 2), leaf(3, 4), leaf(5)
    z = (x * y).sum()
    gx, gy = grad(z, [x, y], retain_graph=True)
    assert gx.tolist() == [3, 4] and gy.tolist() == [1, 2] and x.grad is None
    with raises_with(RuntimeError, "allow_unused"):
        grad(z, [x, unused], retain_graph=True)
    g, n = grad(z, (x, unused), allow_unused=True, retain_graph=True)
    assert n is None and g.tolist() == [3, 4]
    assert grad(z, (x, unused), materialize_grads=True)[1].tolist() == [0]
    h = x * 2
    (gh,) = grad((h * h).sum(), h)
    assert gh.tolist() == [4, 8]  # with respect to a value inside the graph
    assert grad([x.sum(), (x * x).sum()], x)[0].tolist() == [3, 5]
    with pytest.raises(RuntimeError):
        grad(x.sum(), lib.ones(2))


def test_freed_graph():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 8]
    with raises_with(RuntimeError, "retain_graph"):
        y.backward()
    z = (x + 1).sum()  # saves nothing: PyTorch allows this one again
    z.backward()


def test_requires_grad_rules():
    x = leaf(1.0)
    assert x.is_leaf and x.grad_fn is None and x.requires_grad
    y = x * 2
    assert not y.is_leaf and y.grad_fn is not None and y.requires_grad
    assert (lib.ones(1) * 2).is_leaf and not (lib.ones(1) * 2).requires_grad
    assert not y.detach().requires_grad and y.detach().is_leaf and y.detach().data_ptr() == y.data_ptr()
    with raises_with(RuntimeError, "leaf"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError):
        lib.ones(2, dtype=lib.int64).requires_grad_()
    with raises_with(RuntimeError, "leaf"):
        x.add_(1)
    with pytest.raises(RuntimeError):
        x[0] = 3.0
    with raises_with(RuntimeError, "requires grad"):
        x.numpy()
    with lib.no_grad():
        x.add_(1)
    x.data.mul_(3)
    assert x.item() == 6 and x.is_leaf


def test_names_of_nodes():
    x = leaf(1.0)
    assert "Mul" in type(x * 2).__name__ or "Mul" in (x * 2).grad_fn.name() or "mul" in (x * 2).grad_fn.name()
    assert "grad_fn" in repr(x * 2) and "requires_grad=True" in repr(x)
    y = x * x
    assert len(y.grad_fn.next_functions) == 2 and y.grad_fn.next_functions[0][0] is not None


# ---------------------------------------------------------------- modes

def test_modes():
    x = leaf(1.0)
    with lib.no_grad():
        assert not lib.is_grad_enabled() and not (x * 2).requires_grad
        with lib.enable_grad():
            assert (x * 2).requires_grad
    with lib.set_grad_enabled(False):
        assert not (x * 2).requires_grad

    @lib.no_grad()
    def f(v):
        return v * 2

    assert not f(x).requires_grad and f.__name__ == "f" and lib.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), lib.no_grad():
        1 / 0
    assert lib.is_grad_enabled()
    lib.set_grad_enabled(False)
    assert not lib.is_grad_enabled()
    lib.set_grad_enabled(True)


def test_inference_mode():
    x = leaf(1.0, 2.0)
    with lib.inference_mode():
        y = x * 2
        assert not y.requires_grad and y.is_inference() and lib.is_inference_mode_enabled()
        y.add_(1)
    assert not x.is_inference()
    with raises_with(RuntimeError, "nference"):
        (x * y).sum().backward()
    with raises_with(RuntimeError, "nference"):
        y.add_(1)


def test_modes_are_per_thread():
    import threading
    seen = []
    with lib.no_grad():
        t = threading.Thread(target=lambda: seen.append(lib.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


# ---------------------------------------------------------------- in place and views

def test_in_place_on_intermediate():
    def f(x):
        y = x * 2
        y.mul_(x)
        y += 1
        y.exp_()
        return y
    check_first_order(f, [np.array([0.3, -0.5])])
    check_second_order(f, [np.array([0.3, -0.5])])


@pytest.mark.parametrize("name, view", [
    ("row", lambda y: y[1]), ("slice", lambda y: y[:, 1:]), ("transpose", lambda y: y.t()), ("view", lambda y: y.view(-1)), ("chain", lambda y: y.t()[1:].unsqueeze(0)[0, 0]),
    ("diagonal", lambda y: y.diagonal()), ("expand free", lambda y: y[None]), ("chunk", lambda y: y.narrow(1, 0, 2)), ("detachless flatten", lambda y: y.flatten()),
])
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


@pytest.mark.parametrize("name, view", [("row", lambda y: y[1]), ("transpose", lambda y: y.t()), ("view", lambda y: y.view(9)), ("column", lambda y: y[:, 0])])
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
    with raises_with(RuntimeError, "view"):
        a, b = (lib.ones(2, 2, requires_grad=True) * 1).unbind()
        a.add_(1)


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


# ---------------------------------------------------------------- higher order

def test_higher_order_chain():
    x = leaf(0.7)
    y = x.sin()
    want = [np.sin, np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)] * 2
    for k in range(7):
        assert y.item() == pytest.approx(want[k](0.7), abs=1e-12)
        (y,) = grad(y.sum(), x, create_graph=True)


def test_gradient_penalty():
    """A norm of input gradients inside a loss, as in WGAN-GP: weights get second-order gradients."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(5, 1))]

    def f(x, w, v):
        out = lib.tanh(x @ w) @ v
        if not out.requires_grad:  # finite differences call with plain tensors
            with lib.enable_grad():
                x = x.clone().requires_grad_()
                return penalty(x, (lib.tanh(x @ w) @ v))
        return penalty(x, out)

    def penalty(x, out):
        (gx,) = grad(out.sum(), x, create_graph=True)
        return ((gx.pow(2).sum(1) + 1e-3).sqrt() - 1) ** 2

    check_first_order(f, arrays)


def test_backward_with_create_graph():
    x = leaf(2.0)
    (x ** 3).sum().backward(create_graph=True)
    assert x.grad.requires_grad and x.grad.item() == 12
    g = x.grad
    x.grad = None
    g.sum().backward()
    assert x.grad.item() == 12


# ---------------------------------------------------------------- depth, memory, threads

def test_a_million_nodes():
    x = lib.ones(1, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1


def test_destroying_a_million_nodes():
    y = lib.ones(1, requires_grad=True)
    for _ in range(1_000_000):
        y = y * 1.0
    del y
    z = lib.ones(1, requires_grad=True) * 1
    for _ in range(1_000):
        z = z.view(1)
    del z
    gc.collect()


def test_wide_graph():
    x = leaf(1.0)
    lib.stack([x * float(k) for k in range(20000)]).sum().backward()
    assert x.grad.item() == pytest.approx(sum(range(20000)))


def test_graph_is_freed():
    class Big:
        pass
    x = lib.ones(10, requires_grad=True)
    marker = Big()
    ref = weakref.ref(marker)
    y = (x * 2).sum()
    y.grad_fn  # noqa: B018
    x2 = x * 3
    x2.register_hook(lambda g, m=marker: None)
    del marker
    loss = x2.sum()
    loss.backward()
    del x2, loss, y
    gc.collect()
    assert ref() is None


def test_backward_in_threads():
    import threading
    w = lib.ones(50, 50, requires_grad=True)
    failures = []

    def work(seed):
        try:
            for _ in range(20):
                x = lib.full((4, 50), float(seed))
                (g,) = grad((x @ w).sum(), w)
                assert g[0, 0].item() == 4.0 * seed
        except Exception as e:  # noqa: BLE001
            failures.append(e)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failures


def test_saved_tensors_are_freed_by_backward():
    x = lib.ones(3, requires_grad=True)
    h = x.exp()
    ref = weakref.ref(h)
    y = (h * 2).sum()
    del h
    y.backward()
    del y
    gc.collect()
    assert ref() is None


def test_nan_gradients_where_masked():
    """where() does not stop NaN of the branch not taken in PyTorch; ours is the same, clamp and masked_fill are the remedies."""
    x = leaf(0.0, 1.0)
    lib.where(x > 0, x.log(), lib.zeros(2, dtype=lib.float64)).sum().backward()
    assert np.isnan(to_numpy(x.grad)[0]) and x.grad[1].item() == 1


# ---------------------------------------------------------------- checkpoint, anomaly, gradcheck, functional

@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(reentrant):
    from importlib import import_module
    checkpoint = import_module(lib.__name__ + ".utils.checkpoint").checkpoint
    lib.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))
    x = lib.randn(3, 4, requires_grad=True)
    lib.manual_seed(1)
    net(x).pow(2).sum().backward()
    want = [p.grad.tolist() for p in net.parameters()] + [x.grad.tolist()]
    net.zero_grad()
    x.grad = None
    calls = []
    lib.manual_seed(1)
    y = checkpoint(lambda v: calls.append(1) or net(v), x, use_reentrant=reentrant)
    y.pow(2).sum().backward()
    assert len(calls) == 2  # once forward, once again in backward, with the same dropout
    assert [p.grad.tolist() for p in net.parameters()] + [x.grad.tolist()] == want


def test_anomaly_mode():
    x = leaf(0.0)
    with lib.autograd.detect_anomaly():
        y = (x * 0).sqrt() * 0
        with raises_with(RuntimeError, "nan"):
            y.sum().backward()
    assert lib.autograd.set_detect_anomaly is not None


def test_gradcheck():
    from importlib import import_module
    autograd = import_module(lib.__name__ + ".autograd")
    x, y = leaf(0.5, 1.5), leaf(2.0, -1.0)
    assert autograd.gradcheck(lambda a, c: (a * c).sin(), (x, y))
    assert autograd.gradgradcheck(lambda a, c: (a * c).sin(), (x, y))

    class Wrong(lib.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            return v * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    with pytest.raises(RuntimeError):
        autograd.gradcheck(Wrong.apply, (x,))
    assert not autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


def test_functional():
    from importlib import import_module
    functional = import_module(lib.__name__ + ".autograd.functional")
    x = lib.tensor([1.0, 2.0, 3.0], dtype=lib.float64)
    w = lib.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=lib.float64)
    np.testing.assert_allclose(to_numpy(functional.jacobian(lambda v: (w @ v) ** 2, x)), 2 * (to_numpy(w) @ to_numpy(x))[:, None] * to_numpy(w))
    np.testing.assert_allclose(to_numpy(functional.hessian(lambda v: (v ** 3).sum() + v[0] * v[1], x)), [[6, 1, 0], [1, 12, 0], [0, 0, 18]])
    a, c = functional.jacobian(lambda u, v: u * v.sum(), (x, x))
    np.testing.assert_allclose(to_numpy(a), 6 * np.eye(3))
    np.testing.assert_allclose(to_numpy(c), np.tile([[1.0], [2], [3]], 3))
    v = lib.tensor([1.0, -1.0, 2.0], dtype=lib.float64)
    y, t = functional.jvp(lambda u: u ** 2, x, v)
    np.testing.assert_allclose(to_numpy(t), [2, -4, 12])
    y, g = functional.vjp(lambda u: u ** 2, x, v)
    np.testing.assert_allclose(to_numpy(g), [2, -4, 12])
    _, h = functional.hvp(lambda u: (u ** 3).sum(), x, v)
    np.testing.assert_allclose(to_numpy(h), [6, -12, 36])
    _, h = functional.vhp(lambda u: (u ** 3).sum(), x, v)
    np.testing.assert_allclose(to_numpy(h), [6, -12, 36])
    assert IS_FIRESEED or True


def test_torch_names():
    for name in ("grad", "backward", "Function", "no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "set_detect_anomaly", "detect_anomaly", "gradcheck", "functional"):
        assert hasattr(lib.autograd, name), name
