# First and second derivatives of library functions against central differences in float64.
import numpy as np
from under_test import lib, tensor, to_numpy


def outputs_of(result):
    """The float tensors among the results, as a list."""
    results = result if isinstance(result, (tuple, list)) else [result]
    return [r for r in results if isinstance(r, lib.Tensor) and r.is_floating_point()]


def dot(outputs, weights):
    """sum of outputs * weights: a scalar."""
    total = None
    for y, w in zip(outputs, weights):
        s = (y * w).sum()
        total = s if total is None else total + s
    return total


def weights_like(outputs, rng):
    return [
        tensor(
            rng.uniform(0.5, 1.5, tuple(y.shape)) * np.where(rng.random(tuple(y.shape)) < 0.5, -1, 1),
            "float64",
        )
        for y in outputs
    ]


def gradients(f, inputs, weights, create_graph=False):
    """d dot(f(*inputs), weights) / d inputs, zeros where f does not depend on an input."""
    total = dot(outputs_of(f(*inputs)), weights)
    if not total.requires_grad:
        return [lib.zeros_like(x) for x in inputs]
    grads = lib.autograd.grad(total, inputs, create_graph=create_graph, allow_unused=True)
    return [lib.zeros_like(x) if g is None else g for x, g in zip(inputs, grads)]


def numeric_gradients(scalar, arrays, eps):
    """Central differences of scalar(list of arrays) -> float, element by element."""
    grads = []
    for a in arrays:
        g = np.zeros(a.shape)
        for k in np.ndindex(a.shape):
            old = a[k]
            a[k] = old + eps
            up = scalar(arrays)
            a[k] = old - eps
            g[k] = (up - scalar(arrays)) / (2 * eps)
            a[k] = old
        grads.append(g)
    return grads


def assert_close(got, want, tol, what):
    if np.isinf(tol):
        return
    got = to_numpy(got)
    assert got.shape == want.shape, f"{what}: the gradient has shape {got.shape}, the input {want.shape}"
    scale = max(1.0, float(np.abs(want).max()) if want.size else 1.0)
    worst = float(np.abs(got - want).max()) if want.size else 0.0
    assert worst <= tol * scale, (
        f"{what}: off by {worst:.3g} (scale {scale:.3g})\ngot\n{got}\nfinite differences\n{want}"
    )


def check_first_order(f, arrays, tol=1.0, eps=1e-6):
    """f: tensors -> result; arrays: float64 numpy inputs. Every element of every gradient."""
    rng = np.random.default_rng(1)
    inputs = [tensor(a, "float64", requires_grad=True) for a in arrays]
    outputs = outputs_of(f(*inputs))
    assert outputs and any(y.requires_grad for y in outputs), "no output requires grad"
    weights = weights_like(outputs, rng)
    got = gradients(f, inputs, weights)

    def scalar(values):
        with lib.no_grad():
            return dot(outputs_of(f(*[tensor(a, "float64") for a in values])), weights).item()

    want = numeric_gradients(scalar, [a.copy() for a in arrays], eps)
    for k, (g, w) in enumerate(zip(got, want)):
        assert_close(g, w, 2e-7 * tol, f"gradient of input {k}")


def check_second_order(f, arrays, tol=1.0, eps=1e-5):
    """The gradient of the gradient, in inputs and cotangents, against differences of the gradient."""
    rng = np.random.default_rng(2)
    inputs = [tensor(a, "float64", requires_grad=True) for a in arrays]
    outputs = outputs_of(f(*inputs))
    weights = [w.requires_grad_() for w in weights_like(outputs, rng)]
    directions = [tensor(rng.uniform(-1, 1, a.shape), "float64") for a in arrays]

    firsts = gradients(f, inputs, weights, create_graph=True)
    plain = gradients(f, inputs, weights)
    for k, (a, b) in enumerate(zip(firsts, plain)):
        assert_close(a, to_numpy(b), 1e-11, f"create_graph changes the gradient of input {k}")
    total = dot(firsts, directions)
    variables = inputs + weights
    if total.requires_grad:
        seconds = lib.autograd.grad(total, variables, allow_unused=True)
    else:
        seconds = [None] * len(variables)
    seconds = [lib.zeros_like(x) if g is None else g for x, g in zip(variables, seconds)]

    count = len(inputs)

    def scalar(values):
        xs = [tensor(a, "float64", requires_grad=True) for a in values[:count]]
        ws = [tensor(a, "float64") for a in values[count:]]
        with lib.no_grad():
            return sum(((g * d).sum().item()) for g, d in zip(_grad_on(f, xs, ws), directions))

    want = numeric_gradients(scalar, [a.copy() for a in arrays] + [to_numpy(w) for w in weights], eps)
    for k, (g, w) in enumerate(zip(seconds, want)):
        what = (
            f"second-order gradient of input {k}"
            if k < count
            else f"gradient of the gradient in cotangent {k - count}"
        )
        assert_close(g, w, 2e-6 * tol, what)


def _grad_on(f, inputs, weights):
    with lib.enable_grad():
        return gradients(f, inputs, weights)
