"""fireseed.linalg: norms and products from the engine; matrix decompositions through numpy's LAPACK.

The decompositions load numpy when they are used. Their gradients are formulas in tensor operations (Giles, "Collected
matrix derivative results for forward and reverse mode algorithmic differentiation", 2008), so they have gradients too.
"""
from . import _C
from ._namespaces import fill
from .autograd.function import Function

fill(globals(), _C._linalg)


def _numpy_linalg():
    import numpy.linalg
    return numpy.linalg


class LinAlgError(RuntimeError):
    """A matrix does not have what was asked for (an inverse, a Cholesky factor)."""


def _square(name, x):
    if x.dim() < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions, got shape {list(x.shape)}")
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"linalg.{name}: A must be batches of square matrices, but they are {x.shape[-2]} by "
                           f"{x.shape[-1]} matrices")


def _floats(name, x):
    if x.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f"linalg.{name}: Expected a float32 or float64 tensor as input. Got {x.dtype}")


def _lapack(name, function, *tensors):
    """function of numpy.linalg on the tensors' arrays; its errors as LinAlgError."""
    np_linalg = _numpy_linalg()
    try:
        result = getattr(np_linalg, function)(*[t.detach().numpy() for t in tensors])
    except np_linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{name}: {error} (shape {list(tensors[0].shape)})") from None
    return result


def _tensor(array, like):
    return _C.tensor(array, dtype=like.dtype)


class _Inverse(Function):
    @staticmethod
    def forward(ctx, a):
        y = _tensor(_lapack("inv", "inv", a), a)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return -(y.mT @ g @ y.mT)


def inv(A, *, out=None):
    """Inverse of square matrices (…, n, n). Singular ones raise LinAlgError."""
    _square("inv", A)
    _floats("inv", A)
    result = _Inverse.apply(A)
    return result if out is None else out.copy_(result)


class _SlogDet(Function):
    @staticmethod
    def forward(ctx, a):
        sign, value = _lapack("slogdet", "slogdet", a)
        ctx.save_for_backward(a)
        sign, value = _tensor(sign, a), _tensor(value, a)
        ctx.mark_non_differentiable(sign)
        return sign, value

    @staticmethod
    def backward(ctx, _, g):
        (a,) = ctx.saved_tensors
        return g.unsqueeze(-1).unsqueeze(-1) * inv(a).mT


def slogdet(A, *, out=None):
    """(sign, logabsdet) of square matrices (…, n, n)."""
    _square("slogdet", A)
    _floats("slogdet", A)
    return _SlogDet.apply(A)


class _Det(Function):
    @staticmethod
    def forward(ctx, a):
        d = _tensor(_lapack("det", "det", a), a)
        ctx.save_for_backward(a, d)
        return d

    @staticmethod
    def backward(ctx, g):
        a, d = ctx.saved_tensors
        return (g * d).unsqueeze(-1).unsqueeze(-1) * inv(a).mT


def det(A, *, out=None):
    """Determinants of square matrices (…, n, n). The gradient needs an invertible A."""
    _square("det", A)
    _floats("det", A)
    result = _Det.apply(A)
    return result if out is None else out.copy_(result)


class _Solve(Function):
    @staticmethod
    def forward(ctx, a, b):
        x = _tensor(_lapack("solve", "solve", a, b), a)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx, g):
        a, x = ctx.saved_tensors
        gb = _Solve.apply(a.mT, g)
        return -(gb @ x.mT), gb


def solve(A, B, *, left=True, out=None):
    """X with A X = B (left) or X A = B; A (…, n, n), B (…, n, k) or (…, n), batches broadcast."""
    _square("solve", A)
    _floats("solve", A)
    if A.dtype != B.dtype:
        raise RuntimeError(f"linalg.solve: Expected A and B to have the same dtype, but found {A.dtype} and {B.dtype}")
    vector = B.dim() == 1 or (A.dim() - 1 == B.dim() and tuple(B.shape) == tuple(A.shape[:-1]))
    if vector:
        B = B.unsqueeze(-1)
    if not left:
        return solve(A.mT, B.mT).mT
    if B.dim() < 2 or A.shape[-1] != B.shape[-2]:
        raise RuntimeError(f"linalg.solve: Incompatible shapes of A and B for the equation AX = B "
                           f"({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})")
    batch = _C.broadcast_shapes(A.shape[:-2], B.shape[:-2]) if hasattr(_C, "broadcast_shapes") else \
        (A.new_empty(A.shape[:-2]) + B.new_empty(B.shape[:-2])).shape
    x = _Solve.apply(A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:]))
    x = x.squeeze(-1) if vector else x
    return x if out is None else out.copy_(x)


class _Cholesky(Function):
    @staticmethod
    def forward(ctx, a):
        factor = _tensor(_lapack("cholesky", "cholesky", a), a)
        ctx.save_for_backward(factor)
        return factor

    @staticmethod
    def backward(ctx, g):
        # Murray, "Differentiation of the Cholesky decomposition", 2016, eq. 8: L^-T phi(L^T g) L^-1, made symmetric.
        (factor,) = ctx.saved_tensors
        phi = (factor.mT @ g).tril()
        phi = phi - 0.5 * phi.diagonal(dim1=-2, dim2=-1).diag_embed()
        inverse = inv(factor)
        s = inverse.mT @ phi @ inverse
        return 0.5 * (s + s.mT)


def cholesky(A, *, upper=False, out=None):
    """Lower (or upper) Cholesky factor of symmetric positive-definite matrices (…, n, n)."""
    _square("cholesky", A)
    _floats("cholesky", A)
    factor = _Cholesky.apply(A)
    factor = factor.mT if upper else factor
    return factor if out is None else out.copy_(factor)


class _QR(Function):
    @staticmethod
    def forward(ctx, a):
        q, r = (_tensor(x, a) for x in _lapack("qr", "qr", a))
        ctx.save_for_backward(q, r)
        return q, r

    @staticmethod
    def backward(ctx, gq, gr):
        # Walter and Lehmann, "Algorithmic differentiation of linear algebra functions", 2010: full column rank.
        q, r = ctx.saved_tensors
        if q.shape[-2] < q.shape[-1] or r.shape[-2] != r.shape[-1]:
            raise NotImplementedError("linalg.qr: the gradient needs at least as many rows as columns")
        m = r @ gr.mT - gq.mT @ q
        low = m.tril()
        sym = low + low.mT - m.diagonal(dim1=-2, dim2=-1).diag_embed()
        return solve(r, (gq + q @ sym).mT).mT


def qr(A, mode="reduced", *, out=None):
    """Q (…, m, k) and R (…, k, n) with A = Q R, k = min(m, n); only mode='reduced'."""
    if mode != "reduced":
        raise NotImplementedError(f"linalg.qr: mode={mode!r} is not supported; use mode='reduced'")
    if A.dim() < 2:
        raise RuntimeError(f"linalg.qr: The input tensor A must have at least 2 dimensions, got shape {list(A.shape)}")
    _floats("qr", A)
    return _QR.apply(A)


inverse = inv


def logdet(A):
    """Logarithm of the determinant: NaN where that is negative."""
    sign, value = slogdet(A)
    return _C.where(sign < 0, value * float("nan"), value)
