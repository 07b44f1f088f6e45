"""Pickling and copying of tensors: contiguous bytes, shape, dtype and flags."""
import copyreg

from . import _C


def _rebuild_tensor(data, shape, dtype, requires_grad, state=None):
    tensor = _C.frombuffer(bytearray(data), dtype=dtype).clone().reshape(shape) if data else _C.empty(shape, dtype=dtype)
    if requires_grad:
        tensor.requires_grad_(True)
    if state:
        tensor.__dict__.update(state)
    return tensor


def _rebuild_parameter(data, shape, dtype, requires_grad, kind=None, state=None):
    tensor = _rebuild_tensor(data, shape, dtype, False)
    result = _C.Tensor._make_subclass(kind, tensor, requires_grad)
    if state:
        result.__dict__.update(state)
    return result


def reduce_tensor(tensor):
    """copyreg's reduction of a tensor."""
    if tensor.grad_fn is not None and tensor.requires_grad:
        raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at "
                           "the moment: call detach() first")
    flat = tensor.detach().contiguous()
    data = bytes(_C._to_bytes(flat))
    args = (data, tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
    state = dict(getattr(tensor, "__dict__", ())) or None
    if type(tensor) is _C.Tensor:
        return _rebuild_tensor, (*args, state)
    return _rebuild_parameter, (*args, type(tensor), state)


def deepcopy_tensor(tensor, memo):
    """copy.deepcopy: a leaf with its own memory, its gradient copied too."""
    if id(tensor) in memo:
        return memo[id(tensor)]
    if not tensor.is_leaf:
        raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at "
                           "the moment: call detach() first")
    with _C.no_grad():
        data = tensor.detach().clone()
        if type(tensor) is _C.Tensor:
            result = data
            result.requires_grad_(tensor.requires_grad) if tensor.requires_grad else None
        else:
            result = _C.Tensor._make_subclass(type(tensor), data, tensor.requires_grad)
        if tensor.grad is not None:
            result.grad = tensor.grad.detach().clone()
    memo[id(tensor)] = result
    if getattr(tensor, "__dict__", None):  # plain tensors have none
        import copy
        result.__dict__.update(copy.deepcopy(tensor.__dict__, memo))
    return result


def copy_tensor(tensor):
    """copy.copy: shares the memory."""
    if type(tensor) is _C.Tensor:
        result = tensor.detach()
        return result.requires_grad_(True) if tensor.requires_grad and tensor.is_leaf else result
    return _C.Tensor._make_subclass(type(tensor), tensor.detach(), tensor.requires_grad)


copyreg.pickle(_C.Tensor, reduce_tensor)
