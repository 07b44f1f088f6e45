# Autograd beyond single ops: accumulation, graphs, modes, higher order, depth, memory, threads.
import gc
import weakref

import numpy as np
import pytest
from finite_difference import check_first_order
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
    assert x.grad.item() == 2.0**30


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


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d", "conv_transpose2d"])
def test_convolutions_of_frozen_operands(name):
    rank = int(name[-2])
    f = getattr(lib.nn.functional, name)
    full = [lib.randn(2, 3, *[6] * rank), lib.randn(3, 3, *[2] * rank), lib.randn(3)]
    leaves = [t.requires_grad_() for t in full]
    y = f(*leaves)
    g = lib.randn(*y.shape)
    want = grad(y, leaves, g)
    for mask in range(1, 8):  # whichever leaves want a gradient, it is the same
        some = [t.detach().requires_grad_(bool(mask >> i & 1)) for i, t in enumerate(full)]
        wanted = [i for i in range(3) if mask >> i & 1]
        for i, d in zip(wanted, grad(f(*some), [some[i] for i in wanted], g), strict=True):
            np.testing.assert_allclose(to_numpy(d), to_numpy(want[i]), rtol=1e-5, atol=1e-5)


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
    with pytest.raises(KeyError), lib.no_grad():
        raise KeyError
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
    (x**3).sum().backward(create_graph=True)
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
    assert y.grad_fn is not None
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
    """As in PyTorch, where() does not stop the NaN of the branch that is not taken."""
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
    np.testing.assert_allclose(
        to_numpy(functional.jacobian(lambda v: (w @ v) ** 2, x)),
        2 * (to_numpy(w) @ to_numpy(x))[:, None] * to_numpy(w),
    )
    np.testing.assert_allclose(
        to_numpy(functional.hessian(lambda v: (v**3).sum() + v[0] * v[1], x)),
        [[6, 1, 0], [1, 12, 0], [0, 0, 18]],
    )
    a, c = functional.jacobian(lambda u, v: u * v.sum(), (x, x))
    np.testing.assert_allclose(to_numpy(a), 6 * np.eye(3))
    np.testing.assert_allclose(to_numpy(c), np.tile([[1.0], [2], [3]], 3))
    v = lib.tensor([1.0, -1.0, 2.0], dtype=lib.float64)
    y, t = functional.jvp(lambda u: u**2, x, v)
    np.testing.assert_allclose(to_numpy(t), [2, -4, 12])
    y, g = functional.vjp(lambda u: u**2, x, v)
    np.testing.assert_allclose(to_numpy(g), [2, -4, 12])
    _, h = functional.hvp(lambda u: (u**3).sum(), x, v)
    np.testing.assert_allclose(to_numpy(h), [6, -12, 36])
    _, h = functional.vhp(lambda u: (u**3).sum(), x, v)
    np.testing.assert_allclose(to_numpy(h), [6, -12, 36])
    assert IS_FIRESEED or True


def test_torch_names():
    for name in (
        "grad",
        "backward",
        "Function",
        "no_grad",
        "enable_grad",
        "set_grad_enabled",
        "inference_mode",
        "set_detect_anomaly",
        "detect_anomaly",
        "gradcheck",
        "functional",
    ):
        assert hasattr(lib.autograd, name), name


def test_batched_gradients():
    x = lib.arange(1.0, 4.0, requires_grad=True)
    (jacobian,) = lib.autograd.grad(x**2, x, lib.eye(3), is_grads_batched=True)
    assert jacobian.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
