"""fireseed.masked: reductions and normalisations over the elements a mask keeps (True: the element counts).

mask broadcasts to the input and may have any dtype; None keeps all. Elements left out act as the operation's identity:
0 for sum, -inf for amax and softmax, and so on. Where nothing is left the result is that identity, NaN for mean, var,
std and median.
"""
from .. import _C
from .._python_api import iinfo

__all__ = ["amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean",
           "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var"]

_SMALL_INTS = (_C.uint8, _C.bool, _C.int8, _C.int16, _C.int32)


def _dims(dim, ndim):
    """dim as a sorted tuple of dimensions from 0; None and () mean all."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    ndim = max(ndim, 1)
    dims = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in dims:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -ndim <= d < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {d})")
        dims.append(d % ndim)
    return tuple(sorted(dims))


def _input_mask(input, mask):
    """mask as a bool tensor of the input's shape."""
    if mask.shape != input.shape:
        if mask.dim() > input.dim():
            raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
        mask = mask.expand(input.shape)
    return mask.to(_C.bool)


def _lowest(dtype):
    return -float("inf") if dtype.is_floating_point else 0 if dtype == _C.bool else iinfo(dtype).min


def _highest(dtype):
    return float("inf") if dtype.is_floating_point else 1 if dtype == _C.bool else iinfo(dtype).max


def _fill(input, mask, value):
    """The input with value where the mask leaves an element out."""
    if mask is None:
        return input
    return _C.where(_input_mask(input, mask), input, _C.tensor(value, dtype=input.dtype, device=input.device))


def _sum_dtype(input, dtype):
    if dtype is not None:
        return dtype
    return _C.int64 if input.dtype in _SMALL_INTS else input.dtype


def sum(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Sum over dim."""
    dtype = _sum_dtype(input, dtype)
    dims = _dims(dim, input.dim())
    x = _fill(input, mask, 0)
    return _C.sum(x, dims, keepdim, dtype=dtype) if dims else x.to(dtype)


def prod(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Product over dim."""
    dtype = _sum_dtype(input, dtype)
    result = _fill(input, mask, 1).to(dtype)
    for d in reversed(_dims(dim, input.dim())):
        result = result.prod(d, keepdim)
    return result


def cumsum(input, dim, *, dtype=None, mask=None):
    """Running sum along dim."""
    return _C.cumsum(_fill(input, mask, 0), _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def cumprod(input, dim, *, dtype=None, mask=None):
    """Running product along dim."""
    return _C.cumprod(_fill(input, mask, 1), _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def amax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Largest element over dim."""
    return _C.amax(_fill(input, mask, _lowest(input.dtype)), _dims(dim, input.dim()), keepdim).to(dtype or input.dtype)


def amin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Smallest element over dim."""
    return _C.amin(_fill(input, mask, _highest(input.dtype)), _dims(dim, input.dim()), keepdim).to(dtype or input.dtype)


def argmax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Index of the largest element along dim, in the input's dtype if dtype is not given (as in PyTorch)."""
    return _C.argmax(_fill(input, mask, _lowest(input.dtype)), dim, keepdim).to(dtype or input.dtype)


def argmin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Index of the smallest element along dim, in the input's dtype if dtype is not given (as in PyTorch)."""
    return _C.argmin(_fill(input, mask, _highest(input.dtype)), dim, keepdim).to(dtype or input.dtype)


def _count(input, dim, keepdim, mask):
    kept = _C.ones(input.shape, dtype=_C.bool, device=input.device) if mask is None else _input_mask(input, mask)
    return sum(kept, dim, keepdim=keepdim)


def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Mean over dim; NaN where nothing is left."""
    source = "Input" if dtype is None else "Optional"
    dtype = dtype or input.dtype
    if not dtype.is_floating_point:
        raise ValueError(f"mean(): Could not infer output dtype. {source} dtype must be a floating point dtype. Got: {dtype}")
    return sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask) / _count(input, dim, keepdim, mask)


def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """Median along dim, the lower of two; NaN where nothing is left (an error for integers)."""
    d = _dims(dim, input.dim())[0]
    if input.is_floating_point():
        return _C.nanmedian(_fill(input, mask, float("nan")), d, keepdim).values
    output = _C.nanmedian(_fill(input.to(_C.float32), mask, float("nan")), d, keepdim).values
    if output.isnan().any():
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return output.to(dtype or input.dtype)


def logsumexp(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Logarithm of the sum of exponentials over dim."""
    x = _fill(input, mask, _lowest(input.dtype))
    return _C.logsumexp(x, _dims(dim, input.dim()), keepdim).to(dtype or input.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """log(exp(input) + exp(other)), each with a mask of its own."""
    x, y = _fill(input, input_mask, _lowest(input.dtype)), _fill(other, other_mask, _lowest(other.dtype))
    return _C.logaddexp(x, y).to(dtype or input.dtype)


def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Vector norm of order ord over dim."""
    x = _fill(input, mask, float("inf") if ord == -float("inf") else 0)
    dims = _dims(dim, input.dim())
    return _C._linalg.vector_norm(x, ord, dims, keepdim, dtype=dtype or input.dtype)


def _variance(input, dim, unbiased, correction, keepdim, dtype, mask):
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1.0 if unbiased is None or unbiased else 0.0
    if dtype is None:
        dtype = input.dtype if input.is_floating_point() else _C.float32
    compute = dtype if dtype.is_floating_point else _C.float32
    count = _count(input, dim, True, mask)
    x = input - sum(input, dim, keepdim=True, dtype=dtype, mask=mask) / count
    total = sum(x * x, dim, keepdim=keepdim, dtype=compute, mask=mask)
    count = count if keepdim else count.reshape(total.shape)
    if correction != 0:
        count = (count.to(compute) - correction).clamp(min=0)
    return (total / count).to(dtype)


def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """Variance over dim, divided by the number of elements less correction (1 unless unbiased=False)."""
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """Standard deviation over dim: the root of var."""
    return _C.sqrt(_variance(input, dim, unbiased, correction, keepdim, dtype, mask))


def softmax(input, dim, *, dtype=None, mask=None):
    """Softmax along dim; elements left out get 0."""
    x = _fill(input, mask, _lowest(input.dtype))
    return _C.softmax(x, _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def log_softmax(input, dim, *, dtype=None, mask=None):
    """Logarithm of softmax along dim; elements left out get -inf."""
    x = _fill(input, mask, _lowest(input.dtype))
    return _C.log_softmax(x, _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def softmin(input, dim, *, dtype=None, mask=None):
    """Softmax of -input along dim; elements left out get 0."""
    x = _fill(input, mask, _highest(input.dtype))
    return _C.softmax(-x, _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    """The input divided by its norm of order ord along dim, which is at least eps; elements left out get 0."""
    denominator = norm(input, ord, dim, keepdim=True, dtype=dtype or input.dtype, mask=mask).clamp(min=eps)
    return _fill(input, mask, 0) / denominator
