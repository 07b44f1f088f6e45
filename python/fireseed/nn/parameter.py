"""Parameter and Buffer: tensors that a Module registers when they are assigned to it; and their lazy forms."""
from .. import _C

Tensor = _C.Tensor

__all__ = ["Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer", "is_lazy"]


def _rebuild_parameter(kind, data, requires_grad, state=None):
    result = Tensor._make_subclass(kind, data, requires_grad)
    if state:
        result.__dict__.update(state)
    return result


def _rebuild_buffer(data, persistent):
    return Buffer(data, persistent=persistent)


class Parameter(Tensor):
    """A tensor that belongs to a module: assigned as an attribute it appears in `parameters()`.

    data: the tensor whose storage it shares (an empty one by default); requires_grad: True unless said otherwise.
    """

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = _C.empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, not {type(data).__name__}; "
                            "make one with tensor(...) first")
        return Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = result
        return result

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol):
        return _rebuild_parameter, (type(self), self.data, self.requires_grad, dict(self.__dict__) or None)


class Buffer(Tensor):
    """A tensor that belongs to a module but is not trained; persistent: whether it is part of `state_dict()`."""

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = _C.empty(0)
        result = Tensor._make_subclass(cls, data, data.requires_grad)
        result.persistent = persistent
        return result

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.data.clone(), persistent=self.persistent)
        memo[id(self)] = result
        return result

    def __repr__(self):
        return super().__repr__().replace("Buffer(", "tensor(", 1)

    def __reduce_ex__(self, protocol):
        return _rebuild_buffer, (self.data, self.persistent)


class UninitializedTensorMixin:
    """What a lazy parameter or buffer can do before it knows its shape: become a real one."""

    def materialize(self, shape, device=None, dtype=None):
        """Gives it the shape (a tuple of ints) and uninitialised memory, and turns it into its ordinary class."""
        self.data = _C.empty(shape, device=self.data.device if device is None else device,
                             dtype=self.data.dtype if dtype is None else dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError("Can't access the shape of an uninitialized parameter or buffer. This error usually happens "
                           "in `load_state_dict` when trying to load an uninitialized parameter into an initialized "
                           "one. Call `forward` to initialize the parameters before accessing their attributes.")

    def share_memory_(self):
        raise RuntimeError("Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize "
                           "the parameters before calling `module.share_memory()`.")

    def __repr__(self):
        return f"<{type(self).__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape the first forward pass tells (LazyLinear and friends)."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return Tensor._make_subclass(cls, _C.empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        memo[id(self)] = result
        return result

    def __reduce_ex__(self, protocol):
        return UninitializedParameter, (self.requires_grad, self.data.device, self.data.dtype)


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape the first forward pass tells (LazyBatchNorm)."""

    cls_to_become = Buffer

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        result = Tensor._make_subclass(cls, _C.empty(0, device=device, dtype=dtype), requires_grad)
        result.persistent = persistent
        return result

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.requires_grad, self.data.device, self.data.dtype, self.persistent)
        memo[id(self)] = result
        return result

    def __reduce_ex__(self, protocol):
        return UninitializedBuffer, (self.requires_grad, self.data.device, self.data.dtype, self.persistent)


def is_lazy(param):
    """True for a parameter or buffer that has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
