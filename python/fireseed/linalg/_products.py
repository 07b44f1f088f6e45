"""Products and powers: multi_dot, matrix_power, matrix_exp, vander, vecdot; low-rank factors of large matrices."""
from .. import _C
from ..autograd.function import Function
from . import _common as c
from ._qr import qr
from ._solve import inv
from ._svd import svd


@c.takes_out
def vecdot(x, y, *, dim=-1):
    """Sum of x * y along dim; shapes broadcast."""
    c.same_dtype("linalg.vecdot", x, y, "x and y")
    return (x * y).sum(dim)


@c.takes_out
def matrix_power(A, n):
    """A (..., k, k) multiplied by itself n times; the inverse's power for negative n."""
    name = "linalg.matrix_power"
    c.square(name, A)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        return A.clone().copy_(c.eye(A.shape[-1], A))
    result = None
    while True:
        if n & 1:
            result = A if result is None else result @ A
        n >>= 1
        if not n:
            return result.clone() if result is A else result
        A = A @ A


class _MatrixExp(Function):
    @staticmethod
    def forward(ctx, a):
        from . import _kernels as k
        ctx.save_for_backward(a)
        return c.tensor(k.matrix_exp(c.array(a.to(_C.float64))), a)

    @staticmethod
    def backward(ctx, g):
        # exp of ((A', G), (0, A')) has the gradient in its upper right block (Mathias, 1996).
        (a,) = ctx.saved_tensors
        n = a.shape[-1]
        at = a.mT
        whole = _C.cat((_C.cat((at, g), -1), _C.cat((_C.zeros_like(at), at), -1)), -2)
        return _MatrixExp.apply(whole)[..., :n, n:]


@c.takes_out
def matrix_exp(A):
    """Matrix exponential of (..., n, n), computed in float64."""
    c.square("linalg.matrix_exp", A)
    if not A.is_floating_point():
        raise RuntimeError(f"linalg.matrix_exp: Expected a floating point tensor as input. Got {A.dtype}")
    return _MatrixExp.apply(A)


@c.takes_out
def multi_dot(tensors):
    """Product of two or more matrices in the order that costs least; the first and the last may be vectors."""
    name = "linalg.multi_dot"
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"{name}(): expected at least 2 tensors but got {len(tensors)}")
    first, last = tensors[0].dim() == 1, tensors[-1].dim() == 1
    for i, t in enumerate(tensors):
        ends = i in (0, len(tensors) - 1)
        if t.dim() != 2 and not (ends and t.dim() == 1):
            raise RuntimeError(f"{name}(): tensor {i} must be {'1D or ' if ends else ''}2D but got {t.dim()}D")
        if t.dtype != tensors[0].dtype:
            raise RuntimeError(f"{name}(): all tensors must have the same dtype but tensor 0 is {tensors[0].dtype} and "
                               f"tensor {i} {t.dtype}")
    tensors[0] = tensors[0].unsqueeze(0) if first else tensors[0]
    tensors[-1] = tensors[-1].unsqueeze(-1) if last else tensors[-1]
    for i in range(len(tensors) - 1):
        if tensors[i].shape[1] != tensors[i + 1].shape[0]:
            raise RuntimeError(f"{name}(): tensors {i} and {i + 1} with shapes {list(tensors[i].shape)} and "
                               f"{list(tensors[i + 1].shape)} cannot be multiplied")
    value = _chain(tensors)
    value = value.squeeze(-1) if last else value
    return value.squeeze(0) if first else value


def _chain(matrices):
    """The product in the cheapest order (Cormen et al., Introduction to Algorithms, section 15.2)."""
    n = len(matrices)
    size = [m.shape[0] for m in matrices] + [matrices[-1].shape[1]]
    best = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best[i, j] = min((best[i, k][0] + best[k + 1, j][0] + size[i] * size[k + 1] * size[j + 1], k)
                             for k in range(i, j))

    def product(i, j):
        if i == j:
            return matrices[i]
        k = best[i, j][1]
        return product(i, k) @ product(k + 1, j)
    return product(0, n - 1)


def chain_matmul(*matrices, out=None):
    """Product of matrices in the order that costs least (linalg.multi_dot)."""
    matrices = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else matrices
    if len(matrices) == 1:
        return matrices[0].clone()
    return multi_dot(matrices, out=out)


def vander(x, N=None):
    """Vandermonde matrices (..., n, N) of vectors (..., n): columns x^0, x^1, ...; N = n if not given."""
    if x.dtype == _C.bool:
        raise RuntimeError("linalg.vander supports floating point and integer tensors, but got bool")
    x = x.reshape(1) if x.dim() == 0 else x
    N = x.shape[-1] if N is None else N
    if N <= 1:
        raise RuntimeError(f"N must be greater than 1. (linalg.vander got N={N})")
    if x.dtype != _C.int64 and not x.is_floating_point():
        x = x.to(_C.int64)
    powers = x.unsqueeze(-1).expand(*x.shape, N - 1).cumprod(-1)
    return _C.cat((_C.ones_like(x).unsqueeze(-1), powers), -1)


# --- Randomised factors of low rank (Halko, Martinsson and Tropp, 2009, algorithms 4.4 and 5.1) ----------------------

def svd_lowrank(A, q=6, niter=2, M=None):
    """(U (..., m, q), S (..., q), V (..., n, q)) near the largest q singular values of A - M, by random projection."""
    q = 6 if q is None else q
    m, n = A.shape[-2:]
    if M is not None:
        A = A - M
    if m < n:
        A = A.mT
    niter = 2 if niter is None else niter
    basis = _C.randn(A.shape[-1], q, dtype=A.dtype, device=A.device)
    basis = qr(A @ basis)[0]
    for _ in range(niter):
        basis = qr(A.mT @ basis)[0]
        basis = qr(A @ basis)[0]
    u, s, vh = svd(basis.mT @ A, full_matrices=False)
    u, v = basis @ u, vh.mT
    return (v, s, u) if m < n else (u, s, v)


def pca_lowrank(A, q=None, center=True, niter=2):
    """(U, S, V) of the rows of A (..., m, n) as observations: principal directions in V's columns (svd_lowrank)."""
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if center:
        A = A - A.mean(-2, True)
    return svd_lowrank(A, q, niter)
