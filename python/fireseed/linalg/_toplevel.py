"""The names of linear algebra that stand in the top-level namespace, with their own signatures, and Tensor's methods."""
from ._lu import lu_legacy as lu
from ._lu import lu_solve_legacy as lu_solve
from ._lu import lu_unpack
from ._products import chain_matmul, matrix_exp, matrix_power, pca_lowrank, svd_lowrank
from ._qr import geqrf, orgqr, ormqr
from ._qr import qr_legacy as qr
from ._solve import det, logdet, slogdet
from ._solve import inv as inverse
from ._svd import pinverse
from ._svd import svd_legacy as svd
from ._triangular import cholesky_inverse, cholesky_solve, triangular_solve
from ._triangular import cholesky_legacy as cholesky

__all__ = ["chain_matmul", "cholesky", "cholesky_inverse", "cholesky_solve", "det", "geqrf", "inverse", "logdet", "lu",
           "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "orgqr", "ormqr", "pca_lowrank", "pinverse", "qr",
           "slogdet", "svd", "svd_lowrank", "triangular_solve"]
