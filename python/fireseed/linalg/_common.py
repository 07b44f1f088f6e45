"""What the modules of fireseed.linalg share: checks, numpy's LAPACK, named results, out=."""
import functools
import operator

from .. import _C
from .._namespaces import shown_name
from .._python_api import broadcast_shapes


class LinAlgError(RuntimeError):
    """A matrix does not have what was asked for (an inverse, a Cholesky factor)."""

    __module__ = "fireseed.linalg"


class _Result(tuple):
    """A tuple whose items have names, as torch.return_types has them."""

    __slots__ = ()
    _fields = ()

    def __new__(cls, *values):
        return tuple.__new__(cls, values)

    def __repr__(self):
        items = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"{shown_name()}.return_types.{type(self).__name__}(\n{items})"

    def __reduce__(self):
        return _restore, (type(self).__name__, self._fields, tuple(self))


@functools.cache
def result(name, fields):
    """The type of what an operation of several results returns, such as linalg.qr's (Q, R); fields: a tuple of names."""
    members = {field: property(operator.itemgetter(i)) for i, field in enumerate(fields)}
    return type(name, (_Result,), {**members, "_fields": fields, "__slots__": (), "__module__": "fireseed.return_types"})


def _restore(name, fields, values):
    return result(name, fields)(*values)


def takes_out(function):
    """Decorator: the function gets the keyword out=, a tensor or a tuple of tensors that receive the result."""

    @functools.wraps(function)
    def call(*args, out=None, **kwargs):
        value = function(*args, **kwargs)
        return value if out is None else _copy_out(function.__name__, value, out)
    return call


def _copy_out(name, value, out):
    if isinstance(value, tuple):
        if len(out) != len(value):
            raise TypeError(f"{name}(): out= takes {len(value)} tensors, got {len(out)}")
        parts = [_copy_out(name, v, o) for v, o in zip(value, out)]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if value.requires_grad or (out.requires_grad and _C.is_grad_enabled()):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but one "
                           "of the arguments requires grad.")
    if value.is_floating_point() and not out.is_floating_point():
        raise RuntimeError(f"{name}(): result type {value.dtype} can't be cast to the desired output type {out.dtype}")
    if out.shape != value.shape:
        out.resize_(value.shape)
    return out.copy_(value)


def at_least_matrix(name, x, arg="A"):
    """x has two dimensions or more."""
    if x.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor {arg} must have at least 2 dimensions, got shape {list(x.shape)}")


def square(name, x, arg="A"):
    """x is a batch of square matrices."""
    at_least_matrix(name, x, arg)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"{name}: {arg} must be batches of square matrices, but they are {x.shape[-2]} by "
                           f"{x.shape[-1]} matrices")


def floats(name, x):
    """x is float32 or float64, what LAPACK works on."""
    if x.dtype not in (_C.float32, _C.float64):
        if x.is_floating_point():
            raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {x.dtype}; expected float32 or float64")
        raise RuntimeError(f"{name}: Expected a floating point tensor (float32 or float64) as input. Got {x.dtype}")


def same_dtype(name, a, b, names="A and B"):
    """Both tensors have one dtype."""
    if a.dtype != b.dtype:
        raise RuntimeError(f"{name}: Expected {names} to have the same dtype, but found {a.dtype} and {b.dtype}")


def broadcast_batch(*tensors):
    """Matrices (..., m, n) expanded to a common batch shape."""
    batch = broadcast_shapes(*[t.shape[:-2] for t in tensors])
    return [t if t.shape[:-2] == batch else t.expand(*batch, *t.shape[-2:]) for t in tensors]


def array(x):
    """The tensor's values as a numpy array (shared where they lie in host memory)."""
    return x.detach().cpu().numpy()


def tensor(values, like, dtype=None):
    """A numpy array as a tensor of like's dtype, on its device."""
    import numpy as np
    values = np.ascontiguousarray(values).reshape(np.shape(values))
    return _C.from_numpy(values).to(like.device, dtype or like.dtype)


def lapack(name, function, *tensors, **options):
    """function of numpy.linalg on the tensors' arrays; its errors as LinAlgError."""
    import numpy as np
    try:
        with np.errstate(all="ignore"):
            return getattr(np.linalg, function)(*[array(t) for t in tensors], **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: {error} (shape {list(tensors[0].shape)})") from None


def eye(n, like):
    """The n x n identity with like's dtype and device."""
    return _C.eye(n, dtype=like.dtype, device=like.device)


def column(x):
    """(...) as (..., 1, 1), to scale matrices with."""
    return x.unsqueeze(-1).unsqueeze(-1)


def epsilon(dtype):
    """Distance of 1 to the next number of a dtype."""
    return 2.0**-52 if dtype == _C.float64 else 2.0**-23
