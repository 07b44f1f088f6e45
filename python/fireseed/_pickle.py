"""Pickling and copying of tensors: storages, and tensors as windows into them, so that shared memory stays shared."""
import copyreg
import weakref

from . import _C

_LEAF_ERROR = ("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment: "
               "call detach() first")


class _Storage:
    """A storage on its way into a pickle: `flat`, its elements as a 1-dim tensor."""

    __slots__ = ("flat", "__weakref__")

    def __init__(self, flat):
        self.flat = flat

    def __reduce__(self):
        content = bytes(_C._to_bytes(self.flat)), self.flat.dtype
        return _load_storage, content if self.flat.device.type == "cpu" else (*content, str(self.flat.device))


_alive = weakref.WeakValueDictionary()  # (address, dtype) -> _Storage: one object a storage while a pickler holds it


def _storage_of(tensor):
    flat = _C._whole_storage(tensor)
    key = flat.data_ptr(), flat.dtype
    storage = _alive.get(key)
    if storage is None:
        storage = _alive[key] = _Storage(flat)
    return storage


def _load_storage(data, dtype, device="cpu"):
    flat = _C.frombuffer(bytearray(data), dtype=dtype) if data else _C.empty(0, dtype=dtype, device="cpu")
    return _Storage(flat.clone() if device == "cpu" else flat.to(device))


def _rebuild_tensor(storage, shape, stride, offset, requires_grad, state=None):
    with _C.no_grad():
        tensor = storage.flat.as_strided(shape, stride, offset)
    if requires_grad:
        tensor.requires_grad_(True)
    if state:
        tensor.__dict__.update(state)
    return tensor


def _rebuild_parameter(storage, shape, stride, offset, requires_grad, kind, state=None):
    result = _C.Tensor._make_subclass(kind, _rebuild_tensor(storage, shape, stride, offset, False), requires_grad)
    if state:
        result.__dict__.update(state)
    return result


def reduce_tensor(tensor):
    """copyreg's reduction of a tensor."""
    if tensor.grad_fn is not None and tensor.requires_grad:
        raise RuntimeError(_LEAF_ERROR)
    args = (_storage_of(tensor), tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.requires_grad)
    state = dict(tensor.__dict__) or None
    if type(tensor) is _C.Tensor:
        return _rebuild_tensor, (*args, state)
    return _rebuild_parameter, (*args, type(tensor), state)


def _copy_data(tensor, memo):
    """tensor's elements in memory of their own; tensors on one storage get copies on one storage."""
    flat = _C._whole_storage(tensor)
    key = "fireseed storage", flat.data_ptr(), flat.dtype
    if key not in memo:
        memo[key] = flat, flat.clone()  # the original is kept, so that its address stays taken
    with _C.no_grad():
        return memo[key][1].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def deepcopy_tensor(tensor, memo):
    """copy.deepcopy: a leaf with its own memory, its gradient and attributes copied too."""
    if id(tensor) in memo:
        return memo[id(tensor)]
    if not tensor.is_leaf:
        raise RuntimeError(_LEAF_ERROR)
    data = _copy_data(tensor, memo)
    if type(tensor) is _C.Tensor:
        result = data.requires_grad_(True) if tensor.requires_grad else data
    else:
        result = _C.Tensor._make_subclass(type(tensor), data, tensor.requires_grad)
    memo[id(tensor)] = result
    if tensor.grad is not None:
        result.grad = deepcopy_tensor(tensor.grad, memo)
    if tensor.__dict__:
        import copy
        result.__dict__.update(copy.deepcopy(tensor.__dict__, memo))
    return result


def copy_tensor(tensor):
    """copy.copy: shares the memory and the attributes' values."""
    if type(tensor) is _C.Tensor:
        result = tensor.detach()
        if tensor.requires_grad and tensor.is_leaf:
            result.requires_grad_(True)
    else:
        result = _C.Tensor._make_subclass(type(tensor), tensor.detach(), tensor.requires_grad)
    if tensor.__dict__:
        result.__dict__.update(tensor.__dict__)
    return result


copyreg.pickle(_C.Tensor, reduce_tensor)
