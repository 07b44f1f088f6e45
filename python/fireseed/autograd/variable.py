"""Variable: the old name of a tensor that may require grad."""
from .. import _C

__all__ = ["Variable"]


class _VariableMeta(type):
    def __instancecheck__(cls, obj):
        return isinstance(obj, _C.Tensor)

    def __subclasscheck__(cls, kind):
        return issubclass(kind, _C.Tensor)

    def __call__(cls, data=None, requires_grad=False, volatile=None):
        if data is None:
            data = _C.empty(0)
        if not isinstance(data, _C.Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)


class Variable(metaclass=_VariableMeta):
    """Variable(data, requires_grad=False): a tensor on data's memory, without its history. Tensors are instances."""
