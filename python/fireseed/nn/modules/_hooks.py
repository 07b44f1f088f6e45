"""The hooks of modules: registration (per module and global) and the call path that runs them."""
import warnings
from collections import OrderedDict

from ... import _C
from ...utils.hooks import BackwardHook, RemovableHandle

Tensor = _C.Tensor


class _NoHooks(OrderedDict):
    """The empty table all modules without hooks share; registering makes the module's own."""

    def __setitem__(self, key, value):
        raise RuntimeError("this module has no table of hooks yet: register hooks with register_*_hook")

    def __reduce__(self):
        return OrderedDict, ()


_NO_HOOKS = _NoHooks()

# Hooks that run for every module.
_global_forward_pre_hooks = OrderedDict()
_global_forward_hooks = OrderedDict()
_global_forward_hooks_with_kwargs = OrderedDict()
_global_forward_hooks_always_called = OrderedDict()
_global_backward_pre_hooks = OrderedDict()
_global_backward_hooks = OrderedDict()
_global_parameter_registration_hooks = OrderedDict()
_global_buffer_registration_hooks = OrderedDict()
_global_module_registration_hooks = OrderedDict()


def _first(handle, hooks, prepend):
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class HookMixin:
    """What Module inherits to have hooks.

    `_hooked`, a flag in the extension's ModuleBase, is all the hot path reads: set by the first hook of a module (and
    one for all modules by the first global one). Removing hooks leaves it set; the slow path then finds empty tables
    and just calls forward.
    """

    _forward_pre_hooks = _NO_HOOKS
    _forward_pre_hooks_with_kwargs = _NO_HOOKS
    _forward_hooks = _NO_HOOKS
    _forward_hooks_with_kwargs = _NO_HOOKS
    _forward_hooks_always_called = _NO_HOOKS
    _backward_pre_hooks = _NO_HOOKS
    _backward_hooks = _NO_HOOKS
    _state_dict_hooks = _NO_HOOKS
    _state_dict_pre_hooks = _NO_HOOKS
    _load_state_dict_pre_hooks = _NO_HOOKS
    _load_state_dict_post_hooks = _NO_HOOKS

    def _hook_table(self, name):
        table = self.__dict__.get(name)
        if table is None:
            table = self.__dict__[name] = OrderedDict()
        return table

    def _call_impl(self, *args, **kwargs):
        """The call of a module with hooks."""
        if not (self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
                or _global_forward_hooks or _global_forward_pre_hooks or _global_backward_hooks
                or _global_backward_pre_hooks):
            return self.forward(*args, **kwargs)
        result = None
        called = set()
        try:
            for key, hook in (*_global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
                if key in self._forward_pre_hooks_with_kwargs:
                    new = hook(self, args, kwargs)
                    if new is not None:
                        if not (isinstance(new, tuple) and len(new) == 2):
                            raise RuntimeError("forward pre-hook must return None or a tuple of (new_args, "
                                               "new_kwargs), "
                                               f"but got {new}.")
                        args, kwargs = new
                else:
                    new = hook(self, args)
                    if new is not None:
                        args = new if isinstance(new, tuple) else (new,)
            boundary = None
            backward = (*_global_backward_hooks.values(), *self._backward_hooks.values())
            backward_pre = (*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values())
            if backward or backward_pre:
                boundary = BackwardHook(self, backward, backward_pre)
                args = boundary.setup_input_hook(args)
            result = self.forward(*args, **kwargs)
            for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
                called.add(key)
                if key in self._forward_hooks_with_kwargs or key in _global_forward_hooks_with_kwargs:
                    new = hook(self, args, kwargs, result)
                else:
                    new = hook(self, args, result)
                if new is not None:
                    result = new
            if boundary is not None:
                if not isinstance(result, (Tensor, tuple)):
                    warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of "
                                  f"Tensors but received {type(result)}", stacklevel=3)
                result = boundary.setup_output_hook(result)
            return result
        except Exception:
            self._call_always(called, args, kwargs, result)
            raise

    def _call_always(self, called, args, kwargs, result):
        """After an exception: the forward hooks registered with always_call that have not run."""
        always = {**_global_forward_hooks_always_called, **self._forward_hooks_always_called}
        for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
            if key not in always or key in called:
                continue
            try:
                if key in self._forward_hooks_with_kwargs or key in _global_forward_hooks_with_kwargs:
                    hook(self, args, kwargs, result)
                else:
                    hook(self, args, result)
            except Exception as error:
                warnings.warn("module forward hook with ``always_call=True`` raised an exception that was silenced as "
                              f"another error was raised in forward: {error}", stacklevel=3)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """hook(module, args) -> None or new args; with_kwargs: hook(module, args, kwargs) -> None or (args, kwargs)."""
        hooks, kw = self._hook_table("_forward_pre_hooks"), self._hook_table("_forward_pre_hooks_with_kwargs")
        handle = RemovableHandle(hooks, extra_dict=kw)
        hooks[handle.id] = hook
        if with_kwargs:
            kw[handle.id] = True
        self._hooked = True
        return _first(handle, hooks, prepend)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """hook(module, args, output) -> None or a new output; with_kwargs: hook(module, args, kwargs, output).

        always_call: the hook also runs when forward raises.
        """
        hooks, kw = self._hook_table("_forward_hooks"), self._hook_table("_forward_hooks_with_kwargs")
        always = self._hook_table("_forward_hooks_always_called")
        handle = RemovableHandle(hooks, extra_dict=[kw, always])
        hooks[handle.id] = hook
        if with_kwargs:
            kw[handle.id] = True
        if always_call:
            always[handle.id] = True
        self._hooked = True
        return _first(handle, hooks, prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """hook(module, grad_output) -> None or a new grad_output (tuples)."""
        return self._register_backward("_backward_pre_hooks", hook, prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """hook(module, grad_input, grad_output) -> None or a new grad_input (tuples)."""
        return self._register_backward("_backward_hooks", hook, prepend)

    def register_backward_hook(self, hook):
        """The old name of register_full_backward_hook."""
        return self._register_backward("_backward_hooks", hook, False)

    def _register_backward(self, table, hook, prepend):
        hooks = self._hook_table(table)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        self._hooked = True
        return _first(handle, hooks, prepend)


def _register_global(hooks, hook, extras=()):
    """hooks: one of the tables above. Registration hooks, too, send calls the slow way, which is harmless."""
    handle = RemovableHandle(hooks, extra_dict=list(extras))
    hooks[handle.id] = hook
    _C.ModuleBase._set_all_hooked(True)
    return handle


def register_module_forward_pre_hook(hook):
    """hook(module, args) runs before forward of every module."""
    return _register_global(_global_forward_pre_hooks, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """hook(module, args, output) runs after forward of every module."""
    handle = _register_global(_global_forward_hooks, hook,
                              (_global_forward_hooks_with_kwargs, _global_forward_hooks_always_called))
    if with_kwargs:
        _global_forward_hooks_with_kwargs[handle.id] = True
    if always_call:
        _global_forward_hooks_always_called[handle.id] = True
    return handle


def register_module_full_backward_pre_hook(hook):
    """hook(module, grad_output) runs before the backward of every module."""
    return _register_global(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook):
    """hook(module, grad_input, grad_output) runs after the backward of every module."""
    return _register_global(_global_backward_hooks, hook)


register_module_backward_hook = register_module_full_backward_hook


def register_module_parameter_registration_hook(hook):
    """hook(module, name, parameter) runs when a parameter is registered; what it returns takes its place."""
    return _register_global(_global_parameter_registration_hooks, hook)


def register_module_buffer_registration_hook(hook):
    """hook(module, name, buffer) runs when a buffer is registered; what it returns takes its place."""
    return _register_global(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook):
    """hook(module, name, child) runs when a child module is registered; what it returns takes its place."""
    return _register_global(_global_module_registration_hooks, hook)
