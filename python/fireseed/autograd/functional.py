"""Derivatives of functions: jacobian, hessian, vjp, jvp, vhp, hvp (by double backward)."""

from .. import _C
from . import grad

__all__ = ["vjp", "jvp", "jacobian", "hessian", "vhp", "hvp"]


def _tuple(x, what):
    """(tuple of tensors, was it a tuple)."""
    many = isinstance(x, (tuple, list))
    values = tuple(x) if many else (x,)
    for k, v in enumerate(values):
        if not isinstance(v, _C.Tensor):
            raise TypeError(
                f"The {what} given to autograd.functional must be either a Tensor "
                f"or a tuple of Tensors, but element {k} "
                f"has type {type(v).__name__}"
            )
    return values, many


def _prepare(inputs, create_graph):
    """Inputs that a graph can start from: parts of the user's graph under create_graph, else fresh leaves."""
    values, many = _tuple(inputs, "inputs")
    fresh = tuple(
        (x.view_as(x) if create_graph and x.requires_grad else x.detach().clone().requires_grad_())
        for x in values
    )
    return fresh, many


def _finish(values, many, create_graph):
    values = tuple(x if create_graph or not isinstance(x, _C.Tensor) else x.detach() for x in values)
    return values if many else values[0]


def _grad(outputs, inputs, seeds, create_graph, strict=False, name=""):
    """Gradients with zeros for what is not reached; strict makes that an error."""
    pairs = [(y, s) for y, s in zip(outputs, seeds) if y.requires_grad]
    if pairs:
        found = grad(
            [y for y, _ in pairs],
            inputs,
            [s for _, s in pairs],
            create_graph=create_graph,
            retain_graph=True,
            allow_unused=True,
        )
    else:
        found = [None] * len(inputs)
    if strict and any(g is None for g in found):
        raise RuntimeError(
            f"{name}: with strict=True every output must depend on every input, but input "
            f"{[k for k, g in enumerate(found) if g is None][0]} is not reached"
        )
    return tuple(_C.zeros_like(x) if g is None else g for x, g in zip(inputs, found))


def _vector(v, like, what, name):
    """The tuple v, checked against the shapes of `like`; None: ones for a one-element tensor."""
    if v is None:
        if len(like) == 1 and like[0].numel() == 1:
            return (_C.ones_like(like[0]),)
        raise RuntimeError(
            f"{name}: the vector v can only be None if the {what} is a single tensor with one element"
        )
    v, _ = _tuple(v, "v")
    if len(v) != len(like):
        raise RuntimeError(f"{name}: v has {len(v)} tensors, the {what} {len(like)}")
    for k, (a, b) in enumerate(zip(v, like)):
        if tuple(a.shape) != tuple(b.shape):
            raise RuntimeError(f"{name}: v[{k}] has shape {tuple(a.shape)}, the {what} {tuple(b.shape)}")
    return v


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v^T J): one backward pass. v has the shapes of the outputs."""
    with _C.enable_grad():
        xs, many = _prepare(inputs, create_graph)
        ys, many_out = _tuple(func(*xs), "outputs")
        v = _vector(v, ys, "output", "vjp")
        g = _grad(ys, xs, v, create_graph, strict, "vjp")
    return _finish(ys, many_out, create_graph), _finish(g, many, create_graph)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), J v) by double backward: J v = d(u^T J)/du . v. v has the shapes of the inputs."""
    with _C.enable_grad():
        xs, _ = _prepare(inputs, create_graph)
        v = _vector(v, xs, "input", "jvp")
        ys, many_out = _tuple(func(*xs), "outputs")
        u = tuple(_C.zeros_like(y).requires_grad_() for y in ys)
        g = _grad(ys, xs, u, True, strict, "jvp")
        t = _grad(g, u, v, create_graph)
    return _finish(ys, many_out, create_graph), _finish(t, many_out, create_graph)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """d outputs / d inputs, with shape output.shape + input.shape; tuples for several (outputs first).

    One backward pass an output element; vectorize and strategy are accepted and change nothing.
    """
    with _C.enable_grad():
        xs, many = _prepare(inputs, create_graph)
        ys, many_out = _tuple(func(*xs), "outputs")
        result = []
        for y in ys:
            rows = []
            flat = y.reshape(-1)
            for k in range(flat.shape[0]):
                rows.append(_grad((flat[k],), xs, (_C.ones_like(flat[k]),), create_graph, strict, "jacobian"))
            of_y = []
            for i, x in enumerate(xs):
                shape = tuple(y.shape) + tuple(x.shape)
                of_y.append(
                    _C.stack([r[i] for r in rows]).reshape(shape) if rows else _C.zeros(shape, dtype=y.dtype)
                )
            result.append(_finish(of_y, many, create_graph))
    return tuple(result) if many_out else result[0]


def _scalar(func, name):
    """func, whose result must be one tensor of one element."""

    def checked(*xs):
        ys, many = _tuple(func(*xs), "outputs")
        if many or ys[0].numel() != 1:
            raise RuntimeError(
                f"The function given to {name} should return a single Tensor with a single element, but got "
                f"{len(ys)} of shape {tuple(ys[0].shape)}"
            )
        return ys[0].reshape(())

    return checked


def hessian(
    func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"
):
    """Second derivatives of a scalar function: input.shape + input.shape; several inputs: tuples."""
    _, many = _tuple(inputs, "inputs")
    func = _scalar(func, "hessian")

    def gradient(*xs):
        g = _grad((func(*xs),), xs, (_C.ones_like(xs[0].sum()),), True, strict, "hessian")
        return g if many else g[0]

    return jacobian(gradient, inputs, create_graph, strict)


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v^T H) for a scalar function: one backward pass through the gradient."""
    with _C.enable_grad():
        xs, many = _prepare(inputs, create_graph)
        v = _vector(v, xs, "input", "vhp")
        y = _scalar(func, "vhp")(*xs)
        g = _grad((y,), xs, (_C.ones_like(y),), True, strict, "vhp")
        h = _grad(g, xs, v, create_graph)
    return _finish((y,), False, create_graph), _finish(h, many, create_graph)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), H v) for a scalar function; H is symmetric, so this is vhp."""
    return vhp(func, inputs, v, create_graph, strict)
