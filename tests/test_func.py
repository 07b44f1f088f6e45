"""func: grad, vjp, jvp, jacrev, hessian, vmap, functional_call: values, nesting, structures, gradients through them."""
import numpy as np
import pytest
from under_test import IS_FIRESEED, lib, nn, to_numpy

func = pytest.importorskip(lib.__name__ + ".func")


def close(a, b, tolerance=1e-6):
    np.testing.assert_allclose(to_numpy(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def values(*shape):
    return lib.tensor(np.random.default_rng(0).standard_normal(shape))


def test_grad_and_its_nesting():
    x = values(3)
    close(func.grad(lambda a: (a**3).sum())(x), 3 * to_numpy(x) ** 2)
    close(func.grad(lambda a: func.grad(lambda b: (b**3).sum())(a).sum())(x), 6 * to_numpy(x))
    s = lib.tensor(0.5, dtype=lib.float64)
    close(func.grad(func.grad(func.grad(lib.sin)))(s), -np.cos(0.5))
    assert not func.grad(lib.sin)(s).requires_grad


def test_grad_arguments():
    x, y = values(3), values(3)
    gx, gy = func.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, y)
    close(gx, to_numpy(y))
    close(gy, to_numpy(x))
    g, aux = func.grad(lambda a: (a.sum(), a * 2), has_aux=True)(x)
    close(g, np.ones(3))
    close(aux, 2 * to_numpy(x))
    g, (value, aux) = func.grad_and_value(lambda a: (a.sum(), {"twice": a * 2}), has_aux=True)(x)
    close(value, to_numpy(x).sum())
    assert set(aux) == {"twice"} and not aux["twice"].requires_grad
    tree = func.grad(lambda p: (p["w"] * p["b"][0]).sum())({"w": x, "b": [y]})
    close(tree["b"][0], to_numpy(x))


def test_grad_tracks_what_the_function_closes_over():
    x, w = values(3), values(3).requires_grad_()
    g = func.grad(lambda a: (a * a * w).sum())(x)
    assert g.requires_grad
    g.sum().backward()
    close(w.grad, 2 * to_numpy(x))
    x.requires_grad_()
    func.grad(lambda a: (a**3).sum())(x).sum().backward()
    close(x.grad, 6 * to_numpy(x))
    with lib.no_grad():
        close(func.grad(lambda a: (a**2).sum())(x), 2 * to_numpy(x))


def test_vjp_jvp_jacobians_hessian():
    x = values(3)
    y, pull = func.vjp(lambda a: (a**2, a.sum()), x)
    (g,) = pull((lib.ones(3, dtype=lib.float64), lib.tensor(2.0, dtype=lib.float64)))
    close(g, 2 * to_numpy(x) + 2)
    close(y[0], to_numpy(x) ** 2)
    y, t = func.jvp(lambda a: a**2, (x,), (lib.ones(3, dtype=lib.float64),))
    close(t, 2 * to_numpy(x))
    for jac in (func.jacrev, func.jacfwd):
        close(jac(lambda a: a**2)(x), np.diag(2 * to_numpy(x)))
    close(func.hessian(lambda a: (a**3).sum())(x), np.diag(6 * to_numpy(x)))
    ja, jb = func.jacrev(lambda a, b: a * b, argnums=(0, 1))(x, x + 1)
    close(ja, np.diag(to_numpy(x) + 1))
    close(jb, np.diag(to_numpy(x)))


def test_vmap_dims_and_structures():
    x, y = values(4, 3), values(3)
    close(func.vmap(lambda a, b: (a * b).sum(), in_dims=(0, None))(x, y), to_numpy(x) @ to_numpy(y))
    close(func.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x), 2 * to_numpy(x))
    out = func.vmap(lambda d: {"s": d["a"].sum(), "t": (d["a"], d["b"])}, in_dims=({"a": 0, "b": None},))(
        {"a": x, "b": y})
    close(out["s"], to_numpy(x).sum(1))
    assert out["t"][1].shape == (4, 3)
    close(func.vmap(func.vmap(lambda a: a + 1))(x), to_numpy(x) + 1)
    close(lib.vmap(lib.dot)(x, x), (to_numpy(x) ** 2).sum(1))


def test_per_sample_gradients():
    lib.manual_seed(0)
    net = nn.Linear(3, 2).double()
    x, t = values(5, 3), values(5, 2)
    params = {k: v.detach() for k, v in net.named_parameters()}

    def loss(p, a, b):
        return ((func.functional_call(net, p, (a[None],)) - b) ** 2).sum()

    per_sample = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(params, x, t)
    assert per_sample["weight"].shape == (5, 2, 3)
    ((net(x) - t) ** 2).sum().backward()
    close(per_sample["weight"].sum(0), to_numpy(net.weight.grad))


def test_gradients_flow_through_vmap():
    x = values(4, 3).requires_grad_()
    func.vmap(lambda a: (a**2).sum())(x).sum().backward()
    close(x.grad, 2 * to_numpy(x))


def test_ensembles():
    models = [nn.Linear(3, 2) for _ in range(3)]
    params, buffers = func.stack_module_state(models)
    assert params["weight"].shape == (3, 2, 3) and params["weight"].requires_grad and buffers == {}
    x = lib.ones(1, 3)
    out = func.vmap(lambda p, b: func.functional_call(models[0], (p, b), (x,)), randomness="same")(params, buffers)
    close(out, np.stack([to_numpy(m(x)) for m in models]), 1e-5)


@pytest.mark.parametrize("call, error, text", [
    (lambda: func.grad(lambda a: a * 2)(lib.ones(3)), RuntimeError, "0-dim"),
    (lambda: func.grad(lambda a: a.sum(), argnums=2)(lib.ones(3)), RuntimeError, "positional inputs"),
    (lambda: func.vmap(lambda a, b: a)(lib.ones(2), lib.ones(3)), ValueError, "same size"),
    (lambda: func.vmap(lambda a: a, in_dims=None)(lib.ones(2)), ValueError, ""),
    (lambda: func.vmap(lambda a: a)(3.0), ValueError, ""),
    (lambda: func.vmap(lambda a: a, in_dims=2)(lib.ones(3)), ValueError, "in_dim=2"),
    (lambda: func.vmap(lambda a: a, randomness="some"), RuntimeError, "randomness"),
    (lambda: func.jvp(lambda a: a, (lib.ones(2),), (lib.ones(3),)), RuntimeError, "tangents"),
    (lambda: func.functional_call(nn.Linear(1, 1), ({"bias": 1}, {"bias": 2}), ()), ValueError, "bias"),
    (lambda: func.stack_module_state([]), RuntimeError, "at least one model"),
])
def test_mistakes(call, error, text):
    with pytest.raises(error) as info:
        call()(lib.ones(2)) if text == "randomness" else call()
    assert not IS_FIRESEED or text in str(info.value)
