"""Names of the top-level API that need no engine: constants, limits of dtypes, layouts, legacy constructors."""
import math

from . import _C
from ._namespaces import shown_name

inf, nan, pi, e, newaxis = math.inf, math.nan, math.pi, math.e, None


def is_tensor(obj):
    """True if obj is a Tensor (or of a subclass)."""
    return isinstance(obj, _C.Tensor)


def is_storage(obj):
    """Storages are not exposed: always False."""
    return False


def typename(obj):
    """Name of obj's type with its module, for tensors 'fireseed.FloatTensor' and the like."""
    if isinstance(obj, _C.Tensor):
        return obj.type()
    kind = type(obj)
    module = "" if kind.__module__ in ("builtins", "__builtin__", None) else kind.__module__ + "."
    return module + kind.__qualname__


def broadcast_shapes(*shapes):
    """The shape tensors of these shapes broadcast to (ints count as 1-dim shapes)."""
    out = []
    for shape in shapes:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        out = [1] * (len(shape) - len(out)) + out
        for i in range(1, len(shape) + 1):
            n = shape[-i]
            if n < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({n}): ({shape})")
            if out[-i] == 1:
                out[-i] = n
            elif n not in (1, out[-i]):
                raise RuntimeError("broadcast_shapes: Shape mismatch: objects cannot be broadcast to a single shape: "
                                   + ", ".join(map(str, shapes)))
    return _C.Size(out)


class layout:
    """Memory layout of a tensor. fireseed has one: strided."""

    def __init__(self, name):
        self._name = name

    def __repr__(self):
        return f"{shown_name()}.{self._name}"

    def __reduce__(self):
        return self._name


class memory_format(layout):
    """How the dimensions lie in memory."""


strided = layout("strided")
sparse_coo = layout("sparse_coo")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
Node = _C._Node

# bits, eps, largest, smallest normal, smallest subnormal, decimal digits
_FLOATS = {
    "float16": (16, 2.0**-10, 65504.0, 2.0**-14, 2.0**-24, 1e-3),
    "bfloat16": (16, 2.0**-7, 3.3895313892515355e38, 2.0**-126, 2.0**-133, 1e-2),
    "float32": (32, 2.0**-23, 3.4028234663852886e38, 2.0**-126, 2.0**-149, 1e-6),
    "float64": (64, 2.0**-52, 1.7976931348623157e308, 2.0**-1022, 5e-324, 1e-15),
}
_INTS = {"uint8": (8, 0, 255), "int8": (8, -128, 127), "int16": (16, -32768, 32767),
         "int32": (32, -2**31, 2**31 - 1), "int64": (64, -2**63, 2**63 - 1)}


def _name(dtype):
    return str(dtype).rpartition(".")[2]


class finfo:
    """Limits of a float dtype (default: the default dtype): bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, dtype=None):
        dtype = _C.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, _C.dtype) or not dtype.is_floating_point:
            raise TypeError(f"finfo() requires a floating point dtype, got {dtype}. Use iinfo for integers")
        self.dtype = _name(dtype)
        self.bits, self.eps, self.max, self.tiny, self.smallest_subnormal, self.resolution = _FLOATS[self.dtype]
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self):
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
                f"smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})")


class iinfo:
    """Limits of an integer dtype: bits, min, max."""

    def __init__(self, dtype):
        name = _name(dtype)
        if name not in _INTS:
            raise TypeError(f"iinfo() requires an integer dtype, got {dtype}. Use finfo for floats")
        self.dtype = name
        self.bits, self.min, self.max = _INTS[name]

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def compile(model=None, **options):
    """Capturing whole steps is not there yet: returns the model or function as it is, which runs eagerly."""
    if model is None:
        return lambda m: m
    return model


def set_default_device(device):
    """The device that factories (zeros, tensor, …) use in this thread where none is named; None: the CPU."""
    _C._set_default_device(device)


def get_default_device():
    """The device that factories use in this thread where none is named."""
    return _C._get_default_device()


def set_default_tensor_type(kind):
    """Deprecated in PyTorch; sets the default float dtype."""
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    name = name.rpartition(".")[2]
    table = {"FloatTensor": _C.float32, "DoubleTensor": _C.float64, "HalfTensor": _C.float16,
             "BFloat16Tensor": _C.bfloat16}
    if name not in table:
        raise TypeError(f"invalid type object: {kind!r}; only floating-point types are supported as the default type")
    _C.set_default_dtype(table[name])


def use_deterministic_algorithms(mode, *, warn_only=False):
    """CPU results are the same bits for any number of threads: always deterministic, nothing to switch."""


def are_deterministic_algorithms_enabled():
    """CPU results are always deterministic."""
    return True


_precision = "highest"


def set_float32_matmul_precision(precision):
    """How float32 matrix products are made on CUDA: 'highest' in full float32, 'high' and 'medium' on tensor cores, the
    operands rounded to tf32 (10 bits of mantissa). Products on the CPU are always in full float32."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"precision must be one of 'highest', 'high', 'medium', got {precision!r}")
    _precision = precision
    _C._cuda_allow_tf32(precision != "highest")


def get_float32_matmul_precision():
    """What set_float32_matmul_precision was given."""
    return _precision


def spmm(input, mat2):
    """The matrix product of dense matrices; sparse ones are not part of fireseed."""
    return _C.mm(input, mat2)


class _LegacyMeta(type):
    def __instancecheck__(cls, obj):
        return isinstance(obj, _C.Tensor) and obj.dtype is cls.dtype

    def __call__(cls, *args):
        if len(args) == 1 and not isinstance(args[0], int):
            return _C.tensor(args[0], dtype=cls.dtype)
        return _C.empty(*args, dtype=cls.dtype) if args else _C.empty(0, dtype=cls.dtype)


def _legacy(name, dtype):
    return _LegacyMeta(name, (), {"dtype": dtype, "__doc__": f"Legacy constructor of {dtype} tensors."})


FloatTensor = _legacy("FloatTensor", _C.float32)
DoubleTensor = _legacy("DoubleTensor", _C.float64)
HalfTensor = _legacy("HalfTensor", _C.float16)
BFloat16Tensor = _legacy("BFloat16Tensor", _C.bfloat16)
LongTensor = _legacy("LongTensor", _C.int64)
IntTensor = _legacy("IntTensor", _C.int32)
ShortTensor = _legacy("ShortTensor", _C.int16)
CharTensor = _legacy("CharTensor", _C.int8)
ByteTensor = _legacy("ByteTensor", _C.uint8)
BoolTensor = _legacy("BoolTensor", _C.bool)
