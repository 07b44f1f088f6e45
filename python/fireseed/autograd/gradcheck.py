"""gradcheck and gradgradcheck: derivatives of a function against central differences.

The numeric derivative of f at x along coordinate k is (f(x + eps e_k) - f(x - eps e_k)) / (2 eps), whose
error is about eps^2 f''' / 6 + rounding / eps; inputs should be float64.
"""

import sys
import types
import warnings

from .. import _C
from . import grad

__all__ = ["gradcheck", "gradgradcheck", "GradcheckError"]


class GradcheckError(RuntimeError):
    """Raised by gradcheck and gradgradcheck where a derivative is wrong."""


def _tuple(x):
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _differentiable(values):
    return [x for x in values if isinstance(x, _C.Tensor) and x.requires_grad]


def _call(f, inputs):
    """Results of f that are differentiable floats, as a tuple."""
    return tuple(y for y in _tuple(f(*inputs)) if isinstance(y, _C.Tensor) and y.is_floating_point())


def _numeric_jacobians(f, inputs, variables, count, eps):
    """jacobians[i][j] (numel of variable i, numel of output j) by central differences."""
    jacobians = []
    for x in variables:
        data = x.detach()
        columns = [[] for _ in range(count)]
        for index in _positions(x.shape):
            old = data[index].item()
            with _C.no_grad():
                data[index] = old + eps
                up = [y.detach().clone() for y in _call(f, inputs)]
                data[index] = old - eps
                down = [y.detach().clone() for y in _call(f, inputs)]
                data[index] = old
            for j in range(count):
                columns[j].append(((up[j] - down[j]) / (2 * eps)).reshape(-1))
        jacobians.append([_C.stack(c) if c else None for c in columns])
    return jacobians


def _positions(shape):
    """Every index tuple of a shape, in row-major order."""
    import itertools

    return itertools.product(*(range(n) for n in shape))


def _analytic_jacobians(f, inputs, variables, count):
    """The same by backward passes, one for each element of each output."""
    outputs = _call(f, inputs)
    jacobians = [[[] for _ in range(count)] for _ in variables]
    for j, y in enumerate(outputs):
        for index in _positions(y.shape):
            seed = _C.zeros_like(y)
            seed[index] = 1
            if y.requires_grad:
                found = grad(y, variables, seed, retain_graph=True, allow_unused=True)
            else:
                found = [None] * len(variables)
            for i, (x, g) in enumerate(zip(variables, found)):
                if g is not None and g.shape != x.shape:
                    raise GradcheckError(
                        f"gradcheck: the gradient of input {i} has shape {tuple(g.shape)}, "
                        f"the input {tuple(x.shape)}"
                    )
                jacobians[i][j].append((_C.zeros_like(x) if g is None else g.detach()).reshape(-1))
    return [[_C.stack(rows, 1) if rows else None for rows in of_x] for of_x in jacobians]


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
    is_forward_ad=False,
):
    """True if the gradients of func agree with central differences of step eps.

    Every input that requires grad is checked, element by element. func takes `inputs` (tensors, float64
    advised) and returns a tensor or a tuple. An element passes where
    |analytic - numeric| <= atol + rtol * |numeric|; a mismatch raises RuntimeError, or gives False without
    raise_exception. check_forward_ad and the batched checks raise NotImplementedError: fireseed has no forward mode.
    """
    if check_forward_ad or check_batched_forward_grad:
        raise NotImplementedError("gradcheck: forward-mode derivatives are not part of fireseed")
    inputs = _tuple(inputs)
    variables = _differentiable(inputs)
    if not variables:
        raise ValueError("gradcheck: at least one of the inputs must require grad")
    for k, x in enumerate(inputs):
        if isinstance(x, _C.Tensor) and x.requires_grad and x.dtype != _C.float64:
            warnings.warn(
                f"gradcheck: input {k} is {x.dtype}; differences are precise enough only in float64",
                stacklevel=2,
            )
    try:
        _check(func, inputs, variables, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(func, inputs, variables, eps, atol, rtol, nondet_tol):
    outputs = _call(func, inputs)
    if not any(y.requires_grad for y in outputs):
        raise GradcheckError(
            "gradcheck: no output requires grad: the function does not depend on its inputs, or detaches them"
        )
    analytic = _analytic_jacobians(func, inputs, variables, len(outputs))
    numeric = _numeric_jacobians(func, inputs, variables, len(outputs), eps)
    again = _analytic_jacobians(func, inputs, variables, len(outputs))
    for i in range(len(variables)):
        for j in range(len(outputs)):
            a, n, r = analytic[i][j], numeric[i][j], again[i][j]
            if a is None or n is None or a.numel() == 0:
                continue
            if not _C.allclose(a, n.to(a.dtype), rtol, atol):
                raise GradcheckError(
                    f"Jacobian mismatch for output {j} with respect to input {i},\n"
                    f"numerical:{n}\nanalytical:{a}\n"
                )
            if not _C.allclose(a, r, 0.0, nondet_tol):
                raise GradcheckError(
                    f"Backward is not reentrant: two passes differ for output {j} "
                    f"with respect to input {i} by "
                    f"{(a - r).abs().max().item()}"
                )


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
):
    """gradcheck of the gradient: second derivatives in inputs and cotangents (random unless given)."""
    if check_fwd_over_rev:
        raise NotImplementedError("gradgradcheck: forward-mode derivatives are not part of fireseed")
    inputs = _tuple(inputs)
    outputs = [y for y in _call(func, inputs) if y.requires_grad]
    if not outputs:
        raise GradcheckError("gradgradcheck: no output requires grad")
    if grad_outputs is None:
        grad_outputs = [_C.randn(y.shape, dtype=y.dtype).requires_grad_() for y in outputs]
    grad_outputs = _tuple(grad_outputs)
    count = len(inputs)

    def first_derivative(*values):
        with _C.enable_grad():
            xs = [
                x
                if not isinstance(x, _C.Tensor)
                or not x.is_floating_point()
                or x.requires_grad == old.requires_grad
                else x.detach().requires_grad_()
                for x, old in zip(values[:count], inputs)
            ]
            ys = [y for y in _call(func, xs) if y.requires_grad]
            return tuple(
                g
                for g in grad(ys, _differentiable(xs), values[count:], create_graph=True, allow_unused=True)
                if g is not None
            )

    return gradcheck(
        first_derivative,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
    )


class _CallableModule(types.ModuleType):
    """`autograd.gradcheck` is a function and a module in PyTorch: calling the module calls the function."""

    def __call__(self, *args, **kwargs):
        return gradcheck(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
