"""Handles that remove hooks, and the autograd boundaries behind a module's backward hooks."""
import weakref
from collections import OrderedDict

__all__ = ["RemovableHandle", "BackwardHook"]


class RemovableHandle:
    """Removes one hook from the dictionary it was registered in; a context manager, too."""

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extras = () if extra_dict is None else extra_dict if isinstance(extra_dict, (list, tuple)) else (extra_dict,)
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras)

    def remove(self):
        """Takes the hook out; calling it twice is harmless."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self):
        return self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref)

    def __setstate__(self, state):
        self.hooks_dict_ref = weakref.ref(OrderedDict() if state[0] is None else state[0])
        self.id = state[1]
        self.extra_dict_ref = tuple(weakref.ref(d) for d in state[2] if d is not None)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.remove()


_boundary = None  # the autograd.Function subclass, made at first use: importing this file must not import autograd


def _make_boundary():
    global _boundary
    import fireseed

    class BackwardHookFunction(fireseed.autograd.Function):
        """The identity on tensors whose backward lets `visit` see (and replace) the gradients."""

        @staticmethod
        def forward(ctx, visit, *tensors):
            ctx.visit = visit
            ctx.set_materialize_grads(False)
            return tuple(t.clone() for t in tensors)

        @staticmethod
        def backward(ctx, *grads):
            return (None, *ctx.visit(grads))

    _boundary = BackwardHookFunction


class BackwardHook:
    """Runs a module's full backward (pre-)hooks: an identity node before its inputs and one behind its outputs.

    Hooks see `(module, grad_input, grad_output)`: tuples as long as the positional inputs and outputs, None where
    there is no gradient.
    """

    def __init__(self, module, hooks, pre_hooks):
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.n_inputs = 0
        self.inputs_at = []  # positions of the inputs that want gradients
        self.grad_output = None

    def setup_input_hook(self, args):
        """args: the positional inputs of forward. Returns them with the differentiable ones behind the boundary."""
        from .. import _C

        self.n_inputs = len(args)
        if _C.is_grad_enabled():
            self.inputs_at = [i for i, a in enumerate(args) if isinstance(a, _C.Tensor) and a.requires_grad]
        return self._wrap(args, self.inputs_at, self._see_grad_input)

    def setup_output_hook(self, result):
        """result: a tensor or a tuple of them. Returns it behind the boundary."""
        from .. import _C

        single = isinstance(result, _C.Tensor)
        outs = (result,) if single else result
        if not isinstance(outs, tuple):
            return result
        at = [i for i, o in enumerate(outs) if isinstance(o, _C.Tensor) and o.requires_grad]
        self.outputs_at, self.n_outputs = at, len(outs)
        outs = self._wrap(outs, at, self._see_grad_output)
        return outs[0] if single else outs

    def _wrap(self, values, at, visit):
        if not at:
            return values
        if _boundary is None:
            _make_boundary()
        wrapped = _boundary.apply(visit, *(values[i] for i in at))
        values = list(values)
        for i, w in zip(at, wrapped, strict=False):
            values[i] = w
        return tuple(values)

    def _see_grad_output(self, grads):
        full = [None] * self.n_outputs
        for i, g in zip(self.outputs_at, grads, strict=False):
            full[i] = g
        full = tuple(full)
        for hook in self.pre_hooks:
            replaced = hook(self.module, full)
            if replaced is not None:
                full = self._checked(replaced, full, "backward pre hook", "grad_output")
        self.grad_output = full
        if not self.inputs_at:
            self._call_hooks((None,) * self.n_inputs)
        return [full[i] for i in self.outputs_at]

    def _see_grad_input(self, grads):
        full = [None] * self.n_inputs
        for i, g in zip(self.inputs_at, grads, strict=False):
            full[i] = g
        full = self._call_hooks(tuple(full))
        return [full[i] for i in self.inputs_at]

    def _call_hooks(self, grad_input):
        for hook in self.hooks:
            replaced = hook(self.module, grad_input, self.grad_output)
            if replaced is not None:
                if not self.inputs_at:
                    raise RuntimeError("Backward hooks cannot change grad_input when no input of the module requires "
                                       "a gradient: return None from the hook.")
                grad_input = self._checked(replaced, grad_input, "Backward hook", "grad_input")
        return grad_input

    @staticmethod
    def _checked(replaced, old, who, what):
        replaced = replaced if isinstance(replaced, tuple) else (replaced,)
        if len(replaced) != len(old):
            raise RuntimeError(f"{who} returned an invalid number of {what}, got {len(replaced)}, but expected "
                               f"{len(old)}")
        return replaced
