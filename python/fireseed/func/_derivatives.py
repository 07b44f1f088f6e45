"""grad, vjp, jvp, Jacobians and Hessians of functions, at any depth of nesting, through autograd."""
from .. import _C
from .. import autograd as _autograd
from .._tree import flatten, unflatten

# Note [Nested transforms]
# A transform gives the function fresh variables: views of tensors that already take part in a graph, so that an outer
# transform sees the inner derivative as part of its own; leaves made of everything else. Gradients are taken with
# create_graph where something outside the transform wants to differentiate them: an input that requires grad, or a
# leaf the function closes over (found in the graph). Otherwise they come out detached.


def _fresh(x):
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def _variables(tree, name):
    """(fresh leaves, structure, does anything outside want derivatives?)."""
    leaves, structure = flatten(tree)
    for x in leaves:
        if not isinstance(x, _C.Tensor):
            raise ValueError(f"{name}: expected tensors to differentiate with respect to, got {type(x).__name__}")
        if not x.is_floating_point():
            raise RuntimeError(f"{name}: only tensors of float dtypes can be differentiated, got {x.dtype}")
    return [_fresh(x) for x in leaves], structure, any(x.requires_grad for x in leaves)


def _closes_over(outputs, own):
    """Does the graph of outputs reach a leaf that is not in own?"""
    known = {id(x) for x in own}
    seen, waiting = set(), [y.grad_fn for y in outputs if y.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            return True
        waiting += [n for n, _ in node.next_functions]
    return False


def _grads(outputs, inputs, seeds, create_graph):
    pairs = [(y, s) for y, s in zip(outputs, seeds) if y.requires_grad]
    if not pairs:
        return [_C.zeros_like(x) for x in inputs]
    found = _autograd.grad([y for y, _ in pairs], inputs, [s for _, s in pairs], retain_graph=True,
                           create_graph=create_graph, allow_unused=True)
    return [_C.zeros_like(x) if g is None else g for x, g in zip(inputs, found)]


def _split(args, argnums, name):
    """The selected arguments, as a tuple for several argnums."""
    many = isinstance(argnums, tuple)
    numbers = argnums if many else (argnums,)
    for n in numbers:
        if not isinstance(n, int) or not -len(args) <= n < len(args):
            raise RuntimeError(f"{name}: Got argnum={n}, but only {len(args)} positional inputs")
    numbers = [n % len(args) for n in numbers]
    return numbers, (tuple(args[n] for n in numbers) if many else args[numbers[0]])


def _with(args, numbers, chosen, many):
    args = list(args)
    for n, value in zip(numbers, chosen if many else (chosen,)):
        args[n] = value
    return args


def _aux(result, has_aux, name):
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(f"{name}: with has_aux=True the function must return a tuple (output, aux)")
    return result


def _detached(tree, keep):
    leaves, structure = flatten(tree)
    return unflatten(structure, [x.detach() if isinstance(x, _C.Tensor) and not keep else x for x in leaves])


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that returns (gradient of func with respect to args[argnums], func's value).

    func returns a 0-dim tensor, or with has_aux (value, aux); then the result is (gradient, (value, aux)). argnums: an
    int or a tuple; the arguments may be nested tuples, lists and dicts of float tensors.
    """
    def wrapped(*args, **kwargs):
        numbers, chosen = _split(args, argnums, "grad")
        outer = _C.is_grad_enabled()
        with _C.enable_grad():
            leaves, structure, wanted = _variables(chosen, "grad")
            inputs = _with(args, numbers, unflatten(structure, leaves), isinstance(argnums, tuple))
            value, aux = _aux(func(*inputs, **kwargs), has_aux, "grad")
            if not isinstance(value, _C.Tensor) or value.dim():
                what = f"shape {tuple(value.shape)}" if isinstance(value, _C.Tensor) else f"type {type(value).__name__}"
                raise RuntimeError("grad: Expected the function to return a 0-dim tensor (with has_aux=True also aux), "
                                   f"got {what}; take .sum() or .mean(), or use jacrev")
            keep = outer and (wanted or _closes_over([value], leaves))
            found = _grads([value], leaves, [_C.ones_like(value)], keep)
        result = unflatten(structure, found), _detached(value, keep)
        return (result[0], (result[1], _detached(aux, keep))) if has_aux else result
    return wrapped


def grad(func, argnums=0, has_aux=False):
    """A function that returns the gradient of func with respect to args[argnums]; with has_aux (gradient, aux)."""
    both = grad_and_value(func, argnums, has_aux)

    def wrapped(*args, **kwargs):
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found
    return wrapped


def vjp(func, *primals, has_aux=False):
    """(func(*primals), f) where f(cotangents) gives the tuple of v^T J, one a primal; with has_aux (…, f, aux)."""
    outer = _C.is_grad_enabled()
    with _C.enable_grad():
        leaves, structure, wanted = _variables(primals, "vjp")
        out, aux = _aux(func(*unflatten(structure, leaves)), has_aux, "vjp")
    values, out_structure = flatten(out)
    keep = outer and (wanted or _closes_over(values, leaves))

    def pull(*cotangents, retain_graph=True, create_graph=None):
        seeds, _ = flatten(cotangents[0] if len(cotangents) == 1 else cotangents)
        if len(seeds) != len(values) or any(s.shape != y.shape for s, y in zip(seeds, values)):
            raise RuntimeError("vjp: Expected cotangents with the structure and shapes of the outputs, "
                               f"{[tuple(y.shape) for y in values]}, got {[tuple(s.shape) for s in seeds]}")
        graph = _C.is_grad_enabled() and (keep or any(s.requires_grad for s in seeds))
        return unflatten(structure, _grads(values, leaves, seeds, graph))

    result = _detached(unflatten(out_structure, values), keep), pull
    return (*result, _detached(aux, keep)) if has_aux else result


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(func(*primals), J tangents) by double backward: J v = d(u^T J)/du v; with has_aux also aux."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple) or len(primals) != len(tangents):
        raise RuntimeError("jvp: Expected primals and tangents to be tuples of the same length")
    outer = _C.is_grad_enabled()
    with _C.enable_grad():
        leaves, structure, wanted = _variables(primals, "jvp")
        seeds, _ = flatten(tangents)
        if [tuple(s.shape) for s in seeds] != [tuple(x.shape) for x in leaves]:
            raise RuntimeError("jvp: Expected tangents of the primals' shapes, got "
                               f"{[tuple(s.shape) for s in seeds]} for {[tuple(x.shape) for x in leaves]}")
        out, aux = _aux(func(*unflatten(structure, leaves)), has_aux, "jvp")
        values, out_structure = flatten(out)
        keep = outer and (wanted or any(s.requires_grad for s in seeds) or _closes_over(values, leaves))
        dummies = [_C.zeros_like(y).requires_grad_() for y in values]
        pulled = _grads(values, leaves, dummies, True)
        pushed = _grads(pulled, dummies, seeds, keep)
    result = (_detached(unflatten(out_structure, values), keep), unflatten(out_structure, pushed))
    return (*result, _detached(aux, keep)) if has_aux else result


def jacrev(func, argnums=0, has_aux=False, *, chunk_size=None, _preallocate_and_copy=False):
    """A function that returns the Jacobian of func with respect to args[argnums]: output.shape + input.shape.

    Nested outputs and inputs give the structure of the outputs, and in it that of the inputs. One backward pass an
    element of the output; chunk_size has no effect. With has_aux (Jacobian, aux).
    """
    def wrapped(*args, **kwargs):
        numbers, chosen = _split(args, argnums, "jacrev")
        outer = _C.is_grad_enabled()
        with _C.enable_grad():
            leaves, structure, wanted = _variables(chosen, "jacrev")
            inputs = _with(args, numbers, unflatten(structure, leaves), isinstance(argnums, tuple))
            out, aux = _aux(func(*inputs, **kwargs), has_aux, "jacrev")
            values, out_structure = flatten(out)
            keep = outer and (wanted or _closes_over(values, leaves))
            blocks = [_jacobian(y, leaves, structure, keep) for y in values]
        result = unflatten(out_structure, blocks)
        return (result, _detached(aux, keep)) if has_aux else result
    return wrapped


def _jacobian(y, leaves, structure, keep):
    """The tree of dy/dx for all leaves x."""
    flat = y.reshape(-1)
    rows = [_grads([flat[k]], leaves, [_C.ones_like(flat[k])], keep) for k in range(flat.shape[0])]
    columns = []
    for i, x in enumerate(leaves):
        shape = (*y.shape, *x.shape)
        columns.append(_C.stack([row[i] for row in rows]).reshape(shape) if rows else _C.zeros(shape, dtype=x.dtype))
    return unflatten(structure, columns)


def jacfwd(func, argnums=0, has_aux=False, randomness="error", *, chunk_size=None):
    """jacrev: there is no forward mode; the values are the same."""
    return jacrev(func, argnums, has_aux)


def hessian(func, argnums=0):
    """A function that returns the second derivatives of func with respect to args[argnums]."""
    return jacrev(jacrev(func, argnums), argnums)
