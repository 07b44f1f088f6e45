"""Inverses, determinants and linear systems."""
import math

from .. import _C
from ..autograd.function import Function
from . import _common as c

InvEx = c.result("linalg_inv_ex", ("inverse", "info"))
SolveEx = c.result("linalg_solve_ex", ("result", "info"))
SlogDet = c.result("linalg_slogdet", ("sign", "logabsdet"))


def solve_arrays(a, b):
    """(x, info) with a x = b for numpy arrays (..., n, n) and (..., n, k); inf and nan where a is singular."""
    import numpy as np
    try:
        return np.linalg.solve(a, b), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        from . import _kernels as k
        factors, pivots, info = k.lu(a)
        order = k.permutation(pivots, a.shape[-1])
        x = k.solve_triangular(factors, np.take_along_axis(b, order[..., None], -2), False, True)
        return k.solve_triangular(factors, x, True, False), info


def batch_element(info):
    """Where info is not zero first: (number, text that names the batch element)."""
    flat = info.reshape(-1).tolist()
    i = next(i for i, x in enumerate(flat) if x)
    return flat[i], f"(Batch element {i}): " if info.dim() else ""


class _Inverse(Function):
    @staticmethod
    def forward(ctx, a):
        import numpy as np
        x = c.array(a)
        y, info = solve_arrays(x, np.broadcast_to(np.eye(a.shape[-1], dtype=x.dtype), x.shape))
        y, info = c.tensor(y, a), c.tensor(info, a, _C.int32)
        ctx.save_for_backward(y)
        ctx.mark_non_differentiable(info)
        return y, info

    @staticmethod
    def backward(ctx, g, _):
        (y,) = ctx.saved_tensors
        return -(y.mT @ g @ y.mT)


def _inv_ex(name, a, check):
    c.square(name, a)
    c.floats(name, a)
    y, info = _Inverse.apply(a)
    if check and info.any():
        number, where = batch_element(info)
        raise c.LinAlgError(f"{name}: {where}The diagonal element {number} is zero, the inversion could not be completed "
                            "because the input matrix is singular.")
    return y, info


@c.takes_out
def inv(A):
    """Inverse of square matrices (..., n, n). Singular ones raise LinAlgError."""
    return _inv_ex("linalg.inv", A, True)[0]


@c.takes_out
def inv_ex(A, *, check_errors=False):
    """(inverse, info) of (..., n, n): info (..., int32) is the number of the zero pivot of a singular matrix, else 0."""
    return InvEx(*_inv_ex("linalg.inv_ex", A, check_errors))


class _SlogDet(Function):
    @staticmethod
    def forward(ctx, a):
        sign, value = c.lapack("linalg.slogdet", "slogdet", a)
        ctx.save_for_backward(a)
        return c.tensor(sign, a), c.tensor(value, a)

    @staticmethod
    def backward(ctx, _, g):
        (a,) = ctx.saved_tensors
        return c.column(g) * inv(a).mT


@c.takes_out
def slogdet(A):
    """(sign, logabsdet) of square matrices (..., n, n)."""
    c.square("linalg.slogdet", A)
    c.floats("linalg.slogdet", A)
    return SlogDet(*_SlogDet.apply(A))


class _Det(Function):
    @staticmethod
    def forward(ctx, a):
        d = c.tensor(c.lapack("linalg.det", "det", a), a)
        ctx.save_for_backward(a, d)
        return d

    @staticmethod
    def backward(ctx, g):
        a, d = ctx.saved_tensors
        if not (d == 0).any():
            return c.column(g * d) * inv(a).mT
        return c.column(g) * _cofactors(a)


def _cofactors(a):
    """Gradient of det of (..., n, n), singular ones too: with A = U S V', det(U V') U diag(products of the others) V'."""
    from ._svd import svd
    u, s, vh = svd(a, full_matrices=False)
    one = c.eye(a.shape[-1], a)
    others = (s.unsqueeze(-2) * (1 - one) + one).prod(-1)
    sign = c.tensor(c.lapack("linalg.det", "det", u) * c.lapack("linalg.det", "det", vh), a).round()
    return c.column(sign) * ((u * others.unsqueeze(-2)) @ vh)


@c.takes_out
def det(A):
    """Determinants of square matrices (..., n, n)."""
    c.square("linalg.det", A)
    c.floats("linalg.det", A)
    return _Det.apply(A)


def logdet(input):
    """Logarithm of the determinant of (..., n, n): NaN where that is negative, -inf where it is zero."""
    sign, value = slogdet(input)
    return value + _C.where(sign < 0, float("nan"), 0.0).to(value.dtype)


class _Solve(Function):
    @staticmethod
    def forward(ctx, a, b):
        x, info = _C._solve(a, b)
        if info.any():  # with inf and nan, as LAPACK leaves them
            x, info = solve_arrays(c.array(a), c.array(b))
            x, info = c.tensor(x, a), c.tensor(info, a, _C.int32)
        ctx.save_for_backward(a, x)
        ctx.mark_non_differentiable(info)
        return x, info

    @staticmethod
    def backward(ctx, g, _):
        a, x = ctx.saved_tensors
        gb = _Solve.apply(a.mT, g)[0]
        return -(gb @ x.mT), gb


def is_vector(a, b):
    """Whether b of a solve is a vector (or a batch of them) beside matrices a (..., m, n)."""
    return b.dim() == 1 or (a.dim() - 1 == b.dim() and b.shape == a.shape[:-1])


def _solve_ex(name, a, b, left, check):
    c.square(name, a)
    c.floats(name, a)
    c.same_dtype(name, a, b)
    vector = is_vector(a, b)
    if vector:
        if not left:
            raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported for left=False. "
                               "In this case linalg.solve is equivalent to B / A.squeeze(-1)")
        b = b.unsqueeze(-1)
    c.at_least_matrix(name, b, "B")
    if a.shape[-1] != b.shape[-2 if left else -1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})")
    a, b = c.broadcast_batch(a, b)
    x, info = _Solve.apply(a, b) if left else _Solve.apply(a.mT, b.mT)
    if check and info.any():
        where = batch_element(info)[1]
        raise c.LinAlgError(f"{name}: {where}The solver failed because the input matrix is singular.")
    x = x if left else x.mT
    return (x.squeeze(-1) if vector else x), info


@c.takes_out
def solve(A, B, *, left=True):
    """X with A X = B (left) or X A = B; A (..., n, n), B (..., n, k) or (..., n), batches broadcast."""
    return _solve_ex("linalg.solve", A, B, left, True)[0]


@c.takes_out
def solve_ex(A, B, *, left=True, check_errors=False):
    """(result, info) of solve(A, B); singular matrices give inf and nan, and the number of the zero pivot in info."""
    return SolveEx(*_solve_ex("linalg.solve_ex", A, B, left, check_errors))


@c.takes_out
def tensorinv(A, ind=2):
    """The tensor X with tensordot(X, tensordot(A, T, ind)) = T: the product of A's first ind sizes equals the rest's."""
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: Expected a strictly positive integer for 'ind', got {ind}")
    first, last = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if math.prod(first) != math.prod(last):
        raise RuntimeError(f"linalg.tensorinv: Expected the products of A's first {ind} and of its other sizes to be equal, "
                           f"got shape {list(A.shape)}")
    n = math.prod(last)
    return _inv_ex("linalg.tensorinv", A.reshape(n, n), True)[0].reshape(*last, *first)


@c.takes_out
def tensorsolve(A, B, dims=None):
    """X with tensordot(A, X, X.ndim) = B; dims of A are moved to its end first."""
    if dims is not None:
        dims = (dims,) if isinstance(dims, int) else tuple(dims)
        A = A.movedim(dims, tuple(range(A.dim() - len(dims), A.dim())))
    shape = tuple(A.shape[B.dim():])
    if math.prod(shape) != B.numel() or B.numel() ** 2 != A.numel():
        raise RuntimeError("linalg.tensorsolve: Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
                           f"prod(self.shape[:other.ndim]), got shapes {list(A.shape)} and {list(B.shape)}")
    n = B.numel()
    return _solve_ex("linalg.tensorsolve", A.reshape(n, n), B.reshape(n, 1), True, True)[0].reshape(shape)
