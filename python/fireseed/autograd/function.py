"""autograd.Function: operations with a gradient written in Python."""
from .. import _C


class FunctionCtx:
    """What forward and backward of a Function share."""

    _rule = None
    materialize_grads = True
    needs_input_grad = ()

    def __init__(self):
        self._to_save = self._dirty = self._non_differentiable = None

    def save_for_backward(self, *tensors):
        """Keeps tensors for backward; overwriting them in place later is an error there."""
        self._to_save = tensors

    def save_for_forward(self, *tensors):
        """Forward-mode derivatives are not part of fireseed; kept for scripts that call it."""

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward."""
        if self._rule is None:
            return self._to_save or ()
        return _C._function_saved(self)

    def mark_dirty(self, *tensors):
        """Names the inputs that forward changed in place (and returns)."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors):
        """Names outputs that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value):
        """False: backward gets None instead of zeros for outputs without gradient."""
        self.materialize_grads = value

    def _call_backward(self, grads):
        if self.materialize_grads and None in [g if g is None else 0 for g in grads]:
            grads = tuple(_C.zeros(shape, dtype=dtype) if g is None and shape is not None else g
                          for g, (shape, dtype) in zip(grads, self._output_meta))
        function = self._function
        if function.backward is Function.backward and function.vjp is not Function.vjp:
            return function.vjp(self, *grads)
        return function.backward(self, *grads)

    def name(self):
        """Name of the node, e.g. 'ExpBackward'."""
        return self._function.__name__ + "Backward"

    @property
    def next_functions(self):
        """Not tracked for Python functions."""
        return ()


BackwardCFunction = _ContextMethodMixin = NestedIOFunction = FunctionCtx


class Function:
    """Subclass with static methods forward(ctx, …) and backward(ctx, *grads); call it with apply(…).

    forward may also take no ctx, with a separate setup_context(ctx, inputs, output).
    """

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError("You must implement either the backward or vjp method for your custom "
                                  "autograd.Function to use it with backward mode AD.")

    vjp = backward

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__} should not be instantiated. Methods on autograd functions are all "
                           "static, so you should invoke them on the class itself: "
                           f"{type(self).__name__}.apply(...)")

    def __call__(self, *args, **kwargs):
        raise RuntimeError("Legacy autograd function with non-static forward method is deprecated. Use static methods.")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Runs forward and records the call."""
        ctx = FunctionCtx()
        ctx._function = cls
        Tensor = _C.Tensor
        needs = tuple([isinstance(a, Tensor) and a.requires_grad for a in args])
        ctx.needs_input_grad = needs
        record = _C.is_grad_enabled() and True in needs
        before = _C.is_grad_enabled()
        _C._set_grad_enabled(False)
        try:
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        finally:
            _C._set_grad_enabled(before)
        if not record:
            return output
        outputs = output if isinstance(output, tuple) else (output,)
        ctx._output_meta = [(o.shape, o.dtype) if isinstance(o, Tensor) else (None, None) for o in outputs]
        outputs = _C._attach_function(ctx, cls.__name__, args, outputs, ctx._to_save, ctx._dirty or (),
                                      ctx._non_differentiable or ())
        ctx._to_save = ctx._dirty = ctx._non_differentiable = None
        return outputs if isinstance(output, tuple) else outputs[0]


InplaceFunction = Function


def once_differentiable(function):
    """Decorator for backward: its result is not differentiable again."""
    import functools

    @functools.wraps(function)
    def wrapper(ctx, *args):
        with _C.no_grad():
            return function(ctx, *args)
    return wrapper
