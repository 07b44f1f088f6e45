"""Triangular systems and Cholesky factors."""
from .. import _C
from ..autograd.function import Function
from . import _common as c
from ._solve import batch_element

CholeskyEx = c.result("linalg_cholesky_ex", ("L", "info"))
TriangularSolve = c.result("triangular_solve", ("solution", "cloned_coefficient"))


def triangle(x, upper, diagonal=0):
    """The upper or lower triangle without the |diagonal| diagonals next to the border."""
    return x.triu(diagonal) if upper else x.tril(-diagonal)


class _SolveTriangular(Function):
    @staticmethod
    def forward(ctx, a, b, upper, unit):
        from . import _kernels as k
        x = c.tensor(k.solve_triangular(c.array(a), c.array(b), upper, unit), a)
        ctx.save_for_backward(a, x)
        ctx.upper, ctx.unit = upper, unit
        return x

    @staticmethod
    def backward(ctx, g):
        a, x = ctx.saved_tensors
        gb = tri_solve(a.mT, g, not ctx.upper, ctx.unit)
        ga = triangle(-(gb @ x.mT), ctx.upper, int(ctx.unit)) if ctx.needs_input_grad[0] else None
        return ga, gb, None, None


def tri_solve(a, b, upper, unit=False, left=True):
    """X with tri(a) X = b (left) or X tri(a) = b; both of one batch shape, nothing checked."""
    if left:
        return _SolveTriangular.apply(a, b, upper, unit)
    return _SolveTriangular.apply(a.mT, b.mT, not upper, unit).mT


@c.takes_out
def solve_triangular(A, B, *, upper, left=True, unitriangular=False):
    """X with A X = B (left) or X A = B for triangular A (..., n, n), B (..., n, k); the other triangle is not read."""
    name = "linalg.solve_triangular"
    c.square(name, A)
    c.floats(name, A)
    c.at_least_matrix(name, B, "B")
    c.same_dtype(name, A, B)
    if A.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})")
    A, B = c.broadcast_batch(A, B)
    return tri_solve(A, B, upper, unitriangular, left)


@c.takes_out
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """(solution, cloned_coefficient): X with A X = b, or A' X = b (transpose), for triangular A (..., n, n)."""
    c.square("triangular_solve", A)
    c.at_least_matrix("triangular_solve", b, "b")
    x = solve_triangular(A.mT if transpose else A, b, upper=upper != transpose, unitriangular=unitriangular)
    return TriangularSolve(x, c.broadcast_batch(A, b)[0].clone())


class _Cholesky(Function):
    @staticmethod
    def forward(ctx, a):
        factor, info = _C._cholesky(a)
        if info.any():  # with the part of the factor that there is, as LAPACK leaves it
            from . import _kernels as k
            factor, info = k.cholesky_ex(c.array(a))
            factor, info = c.tensor(factor, a), c.tensor(info, a, _C.int32)
        ctx.save_for_backward(factor)
        ctx.mark_non_differentiable(info)
        return factor, info

    @staticmethod
    def backward(ctx, g, _):
        # Murray, "Differentiation of the Cholesky decomposition", 2016, eq. 8: L^-T phi(L^T g) L^-1, made symmetric.
        (factor,) = ctx.saved_tensors
        phi = (factor.mT @ g).tril()
        phi = phi - 0.5 * phi.diagonal(dim1=-2, dim2=-1).diag_embed()
        s = tri_solve(factor, tri_solve(factor.mT, phi, True), False, left=False)
        return 0.5 * (s + s.mT)


def _cholesky_ex(name, a, upper, check):
    c.square(name, a)
    c.floats(name, a)
    factor, info = _Cholesky.apply(a.mT if upper else a)
    if check and info.any():
        number, where = batch_element(info)
        raise c.LinAlgError(f"{name}: {where}The factorization could not be completed because the input is not "
                            f"positive-definite (the leading minor of order {number} is not positive-definite).")
    return (factor.mT if upper else factor), info


@c.takes_out
def cholesky(A, *, upper=False):
    """Lower (or upper) Cholesky factor of symmetric positive-definite matrices (..., n, n)."""
    return _cholesky_ex("linalg.cholesky", A, upper, True)[0]


@c.takes_out
def cholesky_ex(A, *, upper=False, check_errors=False):
    """(L, info) of (..., n, n): info (..., int32) is the order of the first minor that is not positive-definite, or 0."""
    return CholeskyEx(*_cholesky_ex("linalg.cholesky_ex", A, upper, check_errors))


@c.takes_out
def cholesky_legacy(input, upper=False):
    """Cholesky factor of symmetric positive-definite matrices (..., n, n): torch.cholesky."""
    return _cholesky_ex("cholesky", input, upper, True)[0]


@c.takes_out
def cholesky_solve(B, L, upper=False):
    """X with A X = B, given the lower (or upper) Cholesky factor L (..., n, n) of A; B (..., n, k)."""
    c.square("cholesky_solve", L, "L")
    c.floats("cholesky_solve", L)
    c.at_least_matrix("cholesky_solve", B, "B")
    c.same_dtype("cholesky_solve", B, L, "B and L")
    if L.shape[-1] != B.shape[-2]:
        raise RuntimeError(f"cholesky_solve: Incompatible matrix sizes: each L matrix is {L.shape[-1]} by {L.shape[-1]} "
                           f"but each B matrix is {B.shape[-2]} by {B.shape[-1]}")
    L, B = c.broadcast_batch(L, B)
    low = L.mT if upper else L
    return tri_solve(low.mT, tri_solve(low, B, False), True)


@c.takes_out
def cholesky_inverse(input, upper=False):
    """Inverse of A (..., n, n), given its lower (or upper) Cholesky factor."""
    c.square("cholesky_inverse", input)
    c.floats("cholesky_inverse", input)
    return cholesky_solve(c.eye(input.shape[-1], input), input, upper)
