"""fireseed.linalg: norms and products from the engine; matrix decompositions through numpy's LAPACK.

The decompositions load numpy when they are used. Their gradients are formulas in tensor operations (Giles, "Collected
matrix derivative results for forward and reverse mode algorithmic differentiation", 2008), so they have gradients too.
"""
from .. import _C
from .._namespaces import fill
from ._common import LinAlgError  # noqa: F401
from ._lu import ldl_factor, ldl_factor_ex, ldl_solve, lu, lu_factor, lu_factor_ex, lu_solve  # noqa: F401
from ._products import matrix_exp, matrix_power, multi_dot, vander, vecdot  # noqa: F401
from ._qr import householder_product, qr  # noqa: F401
from ._solve import det, inv, inv_ex, slogdet, solve, solve_ex, tensorinv, tensorsolve  # noqa: F401
from ._svd import cond, eig, eigh, eigvals, eigvalsh, lstsq, matrix_rank, pinv, svd, svdvals  # noqa: F401
from ._triangular import cholesky, cholesky_ex, solve_triangular  # noqa: F401

fill(globals(), _C._linalg)


def __getattr__(name):
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
