"""LU factors with partial pivoting, and LDL factors of symmetric matrices."""
from .. import _C
from ..autograd.function import Function
from . import _common as c
from ._solve import batch_element
from ._triangular import tri_solve

LU = c.result("linalg_lu", ("P", "L", "U"))
LUFactor = c.result("linalg_lu_factor", ("LU", "pivots"))
LUFactorEx = c.result("linalg_lu_factor_ex", ("LU", "pivots", "info"))
LUWithInfo = c.result("lu_with_info", ("LU", "pivots", "info"))
LUUnpack = c.result("lu_unpack", ("P", "L", "U"))
LDLFactor = c.result("linalg_ldl_factor", ("LD", "pivots"))
LDLFactorEx = c.result("linalg_ldl_factor_ex", ("LD", "pivots", "info"))


def _permutation_matrix(pivots, m, like):
    """P (..., m, m) with A = P L U, from pivots (..., k)."""
    from . import _kernels as k
    order = c.tensor(k.permutation(c.array(pivots), m), like, _C.int64)
    return _C.zeros(*order.shape, m, dtype=like.dtype, device=like.device).scatter_(-2, order.unsqueeze(-2), 1.0)


def _split(lu):
    """L (..., m, k) with ones on its diagonal and U (..., k, n) from the packed factors (..., m, n)."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    return lu[..., :k].tril(-1) + _C.eye(m, k, dtype=lu.dtype, device=lu.device), lu[..., :k, :].triu()


class _LU(Function):
    @staticmethod
    def forward(ctx, a):
        from . import _kernels as k
        lu, pivots, info = k.lu(c.array(a))
        lu, pivots, info = c.tensor(lu, a), c.tensor(pivots, a, _C.int32), c.tensor(info, a, _C.int32)
        ctx.save_for_backward(lu, pivots)
        ctx.mark_non_differentiable(pivots, info)
        return lu, pivots, info

    @staticmethod
    def backward(ctx, g, *_):
        # Square part: P L^-T (tril(L'gL, -1) + triu(gU U')) U^-T. What lies below or right of it is a triangular
        # solve with the square part's factors: L2 = A2 U^-1, U2 = L^-1 A2.
        lu, pivots = ctx.saved_tensors
        m, n = lu.shape[-2:]
        k = min(m, n)
        low, up = _split(lu)
        gl, gu = g[..., :k].tril(-1), g[..., :k, :].triu()
        square_l, square_u = low[..., :k, :], up[..., :k]
        extra = None
        if m > k:
            extra = tri_solve(square_u.mT, gl[..., k:, :], False, left=False)  # gL2 U^-T
            gu = gu - low[..., k:, :].mT @ extra
        elif n > k:
            extra = tri_solve(square_l.mT, gu[..., k:], True, True)  # L^-T gU2
            gl = gl - extra @ up[..., k:].mT
        phi = (square_l.mT @ gl[..., :k, :]).tril(-1) + (gu[..., :k] @ square_u.mT).triu()
        ga = tri_solve(square_u.mT, tri_solve(square_l.mT, phi, True, True), False, left=False)
        if extra is not None:
            ga = _C.cat((ga, extra), -2 if m > k else -1)
        return _permutation_matrix(pivots, m, lu) @ ga


def _lu(name, a, pivot):
    c.at_least_matrix(name, a)
    c.floats(name, a)
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    return _LU.apply(a)


@c.takes_out
def lu_factor_ex(A, *, pivot=True, check_errors=False):
    """(LU, pivots, info) of (..., m, n): packed factors, rows swapped (int32, from 1), number of a zero pivot or 0."""
    lu, pivots, info = _lu("linalg.lu_factor_ex", A, pivot)
    if check_errors:
        _check_factor("linalg.lu_factor_ex", info)
    return LUFactorEx(lu, pivots, info)


def _check_factor(name, info):
    if info.any():
        number, where = batch_element(info)
        raise RuntimeError(f"{name}: {where}U[{number},{number}] is zero and using it on lu_solve would result in a "
                           "division by zero. If you still want to perform the factorization, consider calling "
                           "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)")


@c.takes_out
def lu_factor(A, *, pivot=True):
    """(LU, pivots) of (..., m, n): packed factors and rows swapped. A zero pivot raises."""
    lu, pivots, info = _lu("linalg.lu_factor", A, pivot)
    _check_factor("linalg.lu_factor", info)
    return LUFactor(lu, pivots)


def lu_legacy(input, pivot=True, get_infos=False, out=None):
    """torch.lu: (LU, pivots), and info with get_infos."""
    lu, pivots, info = _lu("lu", input, pivot)
    if not get_infos:
        _check_factor("lu", info)
    value = LUWithInfo(lu, pivots, info) if get_infos else (lu, pivots)
    return value if out is None else c._copy_out("lu", value, out)


@c.takes_out
def lu(A, *, pivot=True):
    """(P, L, U) with A = P L U for (..., m, n): P (..., m, m), L (..., m, k), U (..., k, n), k = min(m, n)."""
    factors, pivots, _ = _lu("linalg.lu", A, pivot)
    return LU(_permutation_matrix(pivots, A.shape[-2], A), *_split(factors))


@c.takes_out
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True):
    """(P, L, U) from lu_factor's results; what is not asked for is an empty tensor."""
    if unpack_pivots and LU_pivots.dtype != _C.int32:
        raise RuntimeError("lu_unpack: LU_pivots is expected to be a contiguous tensor of dtype int32, got "
                           f"{LU_pivots.dtype}. Note: this function is intended to be used with the output of lu_factor")
    c.at_least_matrix("lu_unpack", LU_data, "LU_data")
    empty = LU_data.new_empty(0)
    low, up = _split(LU_data) if unpack_data else (empty, empty)
    return LUUnpack(_permutation_matrix(LU_pivots, LU_data.shape[-2], LU_data) if unpack_pivots else empty, low, up)


@c.takes_out
def lu_solve(LU, pivots, B, *, left=True, adjoint=False):
    """X with A X = B (left) or X A = B, or A' for A (adjoint), from lu_factor's results; LU (..., n, n), B (..., n, k)."""
    name = "linalg.lu_solve"
    c.square(name, LU, "LU")
    c.floats(name, LU)
    c.same_dtype(name, LU, B, "LU and B")
    c.at_least_matrix(name, B, "B")
    if pivots.dtype != _C.int32:
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type int32. Got {pivots.dtype}")
    if pivots.shape != LU.shape[:-1]:
        raise RuntimeError(f"{name}: Number of pivots per batch should be same as the dimension of the matrix, got shapes "
                           f"{list(pivots.shape)} and {list(LU.shape)}")
    if LU.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({LU.shape[-2]}x{LU.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})")
    p = _permutation_matrix(pivots, LU.shape[-1], LU)
    if not left:  # X A = B is A' X' = B'
        B, adjoint = B.mT, not adjoint
    p, LU, B = c.broadcast_batch(p, LU, B)
    if adjoint:
        x = p @ tri_solve(LU.mT, tri_solve(LU.mT, B, False), True, True)
    else:
        x = tri_solve(LU, tri_solve(LU, p.mT @ B, False, True), True)
    return x if left else x.mT


def lu_solve_legacy(b, LU_data, LU_pivots, *, out=None):
    """torch.lu_solve: X with A X = b from lu's results."""
    return lu_solve(LU_data, LU_pivots, b, out=out)


@c.takes_out
def ldl_factor_ex(A, *, hermitian=False, check_errors=False):
    """(LD, pivots, info) of symmetric (..., n, n), in LAPACK's packing (sytrf); has no gradient."""
    return LDLFactorEx(*_ldl("linalg.ldl_factor_ex", A, check_errors))


@c.takes_out
def ldl_factor(A, *, hermitian=False):
    """(LD, pivots) of symmetric (..., n, n), in LAPACK's packing (sytrf); has no gradient."""
    return LDLFactor(*_ldl("linalg.ldl_factor", A, True)[:2])


def _ldl(name, a, check):
    from . import _kernels as k
    c.square(name, a)
    c.floats(name, a)
    factors, pivots, info = k.ldl(c.array(a))
    if check and info.any():
        number, where = batch_element(c.tensor(info, a, _C.int32))
        raise c.LinAlgError(f"{name}: {where}D[{number},{number}] is zero, the factorization is singular")
    return c.tensor(factors, a), c.tensor(pivots, a, _C.int32), c.tensor(info, a, _C.int32)


class _LDLSolve(Function):
    @staticmethod
    def forward(ctx, factors, pivots, b):
        from . import _kernels as k
        ctx.save_for_backward(factors, pivots)
        return c.tensor(k.ldl_solve(c.array(factors), c.array(pivots), c.array(b)), b)

    @staticmethod
    def backward(ctx, g):
        factors, pivots = ctx.saved_tensors
        return None, None, _LDLSolve.apply(factors, pivots, g)


@c.takes_out
def ldl_solve(LD, pivots, B, *, hermitian=False):
    """X with A X = B from ldl_factor's results; LD (..., n, n), B (..., n, k). The gradient is B's only."""
    name = "linalg.ldl_solve"
    c.square(name, LD, "LD")
    c.floats(name, LD)
    c.at_least_matrix(name, B, "B")
    c.same_dtype(name, LD, B, "LD and B")
    if B.shape[-2] != LD.shape[-1] or pivots.shape != LD.shape[:-1]:
        raise RuntimeError(f"{name}: Expected B with {LD.shape[-1]} rows and pivots of shape {list(LD.shape[:-1])}, got "
                           f"shapes {list(B.shape)} and {list(pivots.shape)}")
    if pivots.dtype not in (_C.int32, _C.int64):
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype}")
    LD, B, p = c.broadcast_batch(LD, B, pivots.unsqueeze(-2))
    return _LDLSolve.apply(LD.detach(), p.squeeze(-2), B)
