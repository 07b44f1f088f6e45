"""torch.cuda.FloatTensor and its kin: legacy constructors of tensors on the current GPU."""
from .. import _C
from .._python_api import _LegacyMeta

_DTYPES = {"FloatTensor": _C.float32, "DoubleTensor": _C.float64, "HalfTensor": _C.float16, "BFloat16Tensor": _C.bfloat16,
           "LongTensor": _C.int64, "IntTensor": _C.int32, "ShortTensor": _C.int16, "CharTensor": _C.int8,
           "ByteTensor": _C.uint8, "BoolTensor": _C.bool}


class _CudaMeta(_LegacyMeta):
    def __instancecheck__(cls, obj):
        return super().__instancecheck__(obj) and obj.is_cuda

    def __call__(cls, *args):
        from . import is_available
        if not is_available():
            raise TypeError(f"type torch.cuda.{cls.__name__} not available: there is no GPU that fireseed can use")
        return super().__call__(*args).to("cuda")


def tensor_type(name):
    """The class fireseed.cuda.<name>; None for other names."""
    if name not in _DTYPES:
        return None
    return _CudaMeta(name, (), {"dtype": _DTYPES[name], "__module__": "fireseed.cuda",
                                "__doc__": f"Legacy constructor of {_DTYPES[name]} tensors on the current GPU."})
