"""Functions of several tensors given one by one (or as one list), as torch.meshgrid takes them."""
from collections import namedtuple

from . import _C


def _tensors(args):
    return list(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else list(args)


def meshgrid(*tensors, indexing="ij"):
    """Coordinate grids of vectors: n tensors of shape (len_1, ..., len_n); indexing "ij" or "xy"."""
    return _C._meshgrid(_tensors(tensors), indexing or "ij")


def broadcast_tensors(*tensors):
    """The tensors as views of their common shape."""
    return _C._broadcast_tensors(_tensors(tensors))


def block_diag(*tensors):
    """A matrix with the given matrices (or vectors, numbers as 1 x n) along its diagonal, zeros elsewhere."""
    return _C._block_diag(_tensors(tensors))


def cartesian_prod(*tensors):
    """All combinations of the vectors' elements, one a row: (product of lengths, n)."""
    return _C._cartesian_prod(_tensors(tensors))


def _at_least(tensors, grow):
    if len(tensors) == 1 and not isinstance(tensors[0], (tuple, list)):
        return grow(tensors[0])
    return tuple(grow(t) for t in _tensors(tensors))


def atleast_1d(*tensors):
    """Each tensor with at least one dimension."""
    return _at_least(tensors, lambda t: t if t.dim() else t.reshape(1))


def atleast_2d(*tensors):
    """Each tensor with at least two dimensions: (n,) becomes (1, n)."""
    return _at_least(tensors, lambda t: t.reshape(1, 1) if t.dim() == 0 else t.unsqueeze(0) if t.dim() == 1 else t)


def atleast_3d(*tensors):
    """Each tensor with at least three dimensions: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""
    def grow(t):
        if t.dim() == 0:
            return t.reshape(1, 1, 1)
        if t.dim() == 1:
            return t.unsqueeze(0).unsqueeze(-1)
        return t.unsqueeze(-1) if t.dim() == 2 else t
    return _at_least(tensors, grow)


def unravel_index(indices, shape):
    """Coordinates in an array of `shape` of row-major positions: a tuple of int64 tensors, one a dimension."""
    if not isinstance(indices, _C.Tensor):
        raise TypeError(f"unravel_index(): argument 'indices' must be a Tensor, not {type(indices).__name__}")
    if isinstance(shape, _C.Tensor):
        shape = shape.tolist()
    return _C._unravel_index(indices, (shape,) if isinstance(shape, int) else tuple(shape))


_Histogramdd = namedtuple("histogramdd", ("hist", "bin_edges"))


def histogramdd(input, bins, range=None, weight=None, density=False):
    """Histogram of points (..., D): (hist, bin_edges). bins: a number, one a dimension, or tensors of edges."""
    hist, *edges = _C._histogramdd(input, bins, range, weight, density)
    return _Histogramdd(hist, tuple(edges))
