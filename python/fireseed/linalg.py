"""fireseed.linalg: norms and products from the engine; matrix decompositions through numpy's LAPACK."""
from . import _C
from ._namespaces import fill

fill(globals(), _C._linalg)
