"""Module: the base class of all layers and networks."""
# ruff: noqa: F401, F403, F405
from weakref import ref

from ... import _C
from ..parameter import Buffer, Parameter
from . import _hooks
from ._hooks import (
    HookMixin,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from ._state_dict import StateDictMixin, _IncompatibleKeys

Tensor = _C.Tensor


def _typename(value):
    """PyTorch's name for the type of a value, for messages."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _addindent(text, n):
    """Indents all lines but the first (blank ones stay blank)."""
    first, *rest = text.split("\n")
    return "\n".join([first] + [" " * n + line if line else line for line in rest])


class _Members(dict):
    """A module's parameters, buffers or children by name.

    Each is also put into the module's `__dict__`, so that reading `self.weight` is a plain attribute lookup
    (a `__getattr__` would cost more than many an operation on small tensors).
    """

    __slots__ = ("owner",)

    def __init__(self, owner, items=()):
        self.owner = ref(owner)
        for name, value in dict(items).items():
            self[name] = value

    def __setitem__(self, name, value):
        dict.__setitem__(self, name, value)
        owner = self.owner()
        if owner is not None:
            owner.__dict__[name] = value

    def __delitem__(self, name):
        dict.__delitem__(self, name)
        owner = self.owner()
        if owner is not None:
            owner.__dict__.pop(name, None)

    def update(self, *args, **kwargs):
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other):
        self.update(other)
        return self

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name, *default):
        if name not in self:
            return dict.pop(self, name, *default)
        value = self[name]
        del self[name]
        return value

    def popitem(self):
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self):
        for name in list(self):
            del self[name]

    def copy(self):
        return dict(self)

    def __reduce__(self):
        return dict, (dict(self),)

    def __deepcopy__(self, memo):
        from copy import deepcopy
        return {k: deepcopy(v, memo) for k, v in self.items()}


_MEMBER_TABLES = ("_parameters", "_buffers", "_modules")


def _missing_attribute(self, name):
    raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def _parse_to(args, kwargs):
    """The arguments of Tensor.to as (device, dtype, non_blocking, memory_format)."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    non_blocking, memory_format = kwargs.get("non_blocking", False), kwargs.get("memory_format")
    for value in args:
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, _C.dtype):
            dtype = value
        elif isinstance(value, bool):
            non_blocking = value
        elif isinstance(value, (str, int, _C.device)):
            device = value
        elif value is not None:
            raise TypeError(f"to() received an invalid combination of arguments: got a {type(value).__name__}; "
                            "expected a device, a floating point dtype or a tensor")
    other = kwargs.get("tensor", kwargs.get("other"))
    if other is not None:
        device, dtype = other.device, other.dtype
    unknown = set(kwargs) - {"device", "dtype", "non_blocking", "memory_format", "tensor", "other", "copy"}
    if unknown:
        raise TypeError(f"to() got an unexpected keyword argument '{sorted(unknown)[0]}'")
    return device, dtype, non_blocking, memory_format


class Module(_C.ModuleBase, HookMixin, StateDictMixin):
    """The base class of layers and networks.

    Subclasses call `super().__init__()`, assign Parameters, buffers and other Modules as attributes, and define
    `forward`. Calling the module runs forward and its hooks (ModuleBase, in the extension, does the call).
    """

    dump_patches = False
    call_super_init = False
    training: bool

    def __init__(self, *args, **kwargs):
        if not self.call_super_init:
            if kwargs:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                                f"'{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} "
                                "were given")
        d = self.__dict__
        d["training"] = True
        d["_parameters"] = _Members(self)
        d["_buffers"] = _Members(self)
        d["_modules"] = _Members(self)
        d["_non_persistent_buffers_set"] = set()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # Module itself has no __getattr__ (it would slow every attribute down); a subclass with its own may call ours.
        if "__getattr__" in cls.__dict__ and "__getattr__" not in Module.__dict__:
            Module.__getattr__ = _missing_attribute

    def forward(self, *args, **kwargs):
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---- registration -------------------------------------------------------------------------------------------
    def _check_name(self, kind, name, table):
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name, param):
        """Adds a Parameter (or None: a parameter the module could have) under a name."""
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                                "(torch.nn.Parameter or None required)")
            if param.grad_fn is not None:
                raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                                 f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                                 "the value in the forward() method.")
            param = self._registered(_hooks._global_parameter_registration_hooks, name, param)
        self._parameters[name] = param

    def register_buffer(self, name, tensor, persistent=True):
        """Adds a tensor that is not trained, or None, under a name; persistent: part of state_dict."""
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                            "(torch Tensor or None required)")
        tensor = self._registered(_hooks._global_buffer_registration_hooks, name, tensor)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name, module):
        """Adds a child module (or None) under a name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = self._registered(_hooks._global_module_registration_hooks, name, module)

    register_module = add_module

    def _registered(self, hooks, name, value):
        for hook in hooks.values():
            replaced = hook(self, name, value)
            if replaced is not None:
                value = replaced
        return value

    # ---- attributes ---------------------------------------------------------------------------------------------
    def __setattr__(self, name, value):
        d = self.__dict__
        params = d.get("_parameters")
        if not isinstance(value, (Tensor, Module)):
            if params is None:
                object.__setattr__(self, name, value)
                return
            if name not in params and name not in d["_modules"] and name not in d["_buffers"]:
                if isinstance(value, dict) and name in _MEMBER_TABLES:
                    for old in list(d[name]):
                        del d[name][old]
                    d[name] = _Members(self, value)
                else:
                    object.__setattr__(self, name, value)
                return
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            if name not in params:
                self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(f"cannot assign '{_typename(value)}' as parameter '{name}' "
                                "(torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if params is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            if name not in d["_modules"]:
                self._forget(name, "_parameters", "_buffers")
            d["_modules"][name] = self._registered(_hooks._global_module_registration_hooks, name, value)
        elif params is not None and name in d["_modules"]:
            if value is not None:
                raise TypeError(f"cannot assign '{_typename(value)}' as child module '{name}' "
                                "(torch.nn.Module or None expected)")
            d["_modules"][name] = None
        elif isinstance(value, Buffer) or params is not None and name in d["_buffers"]:
            if params is None:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{_typename(value)}' as buffer '{name}' "
                                "(torch.nn.Buffer, torch.Tensor or None expected)")
            if name not in d["_buffers"]:
                d.pop(name, None)
            persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
            self.register_buffer(name, value, persistent)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name, *tables):
        """Takes a name out of the tables and the plain attributes, before something else gets it."""
        d = self.__dict__
        for table in tables:
            if name in d[table]:
                del d[table][name]
        d["_non_persistent_buffers_set"].discard(name)
        d.pop(name, None)

    def __delattr__(self, name):
        d = self.__dict__
        for table in _MEMBER_TABLES:
            if name in d.get(table, ()):
                del d[table][name]
                d["_non_persistent_buffers_set"].discard(name)
                return
        object.__delattr__(self, name)

    def __getstate__(self):
        return self.__dict__.copy()

    def __setstate__(self, state):
        d = self.__dict__
        d.update(state)
        d.setdefault("_non_persistent_buffers_set", set())
        for table in _MEMBER_TABLES:
            d[table] = _Members(self, state.get(table, ()))
        self._hooked = any(name.endswith("ward_hooks") or name.endswith("ward_pre_hooks") for name in state)

    def __dir__(self):
        names = dir(type(self)) + list(self.__dict__)
        return sorted({name for name in names if not name[:1].isdigit()})

    # ---- the tree -----------------------------------------------------------------------------------------------
    def get_submodule(self, target):
        """The descendant with a dotted name ("" is the module itself); AttributeError where there is none."""
        module = self
        for atom in target.split(".") if target else ():
            if not hasattr(module, atom):
                raise AttributeError(f"{module._get_name()} has no attribute `{atom}`")
            module = getattr(module, atom)
            if not isinstance(module, Module):
                raise AttributeError(f"`{atom}` is not an nn.Module")
        return module

    def set_submodule(self, target, module, strict=False):
        """Puts a module at a dotted name; strict: only where there is one already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target):
        """The parameter with a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target):
        """The buffer with a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(module, name)

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in get_members_fn(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield (f"{path}.{name}" if path else name), value

    def parameters(self, recurse=True):
        """All parameters, each once, in the order of registration."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """(dotted name, parameter) of the module and, with recurse, of all below it."""
        yield from self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """All buffers, each once."""
        for _, buf in self.named_buffers(recurse=recurse):
            yield buf

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """(dotted name, buffer) of the module and, with recurse, of all below it."""
        yield from self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self):
        """The direct child modules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self):
        """(name, module) of the direct children, each module once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate=True):
        """The module and all below it, depth first."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """(dotted name, module) of the module and all below it, depth first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    # ---- everything at once -------------------------------------------------------------------------------------
    def _apply(self, fn, recurse=True):
        """Replaces every parameter, gradient and buffer t by fn(t); parameters keep their identity."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            grad = param.grad
            with _C.no_grad():
                param.data = fn(param)
                if grad is not None:
                    param.grad = fn(grad).requires_grad_(grad.requires_grad)
        for name, buf in self._buffers.items():
            if buf is not None:
                self._buffers[name] = fn(buf)
        return self

    def apply(self, fn):
        """Calls fn(module) on all modules below this one and then on this one; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args, **kwargs):
        """Moves and converts all parameters and buffers in place: to(device), to(dtype), to(device, dtype), to(tensor).

        Only floating point tensors change dtype, and only floating point dtypes are accepted (TypeError).
        """
        device, dtype, non_blocking, memory_format = _parse_to(args, kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                            f"dtype={dtype}")

        def convert(t):
            target = dtype if t.is_floating_point() else None
            if memory_format is not None and t.dim() in (4, 5):
                t = t.contiguous(memory_format=memory_format)
            if device is None:
                return t if target is None else t.to(target, non_blocking=non_blocking)
            if target is None:
                return t.to(device, non_blocking=non_blocking)
            return t.to(device, target, non_blocking=non_blocking)

        return self._apply(convert)

    def to_empty(self, *, device, recurse=True):
        """Moves to a device without copying the values."""
        return self._apply(lambda t: _C.empty_like(t, device=device), recurse=recurse)

    def cuda(self, device=None):
        """Moves all parameters and buffers to a CUDA device."""
        return self._apply(lambda t: t.cuda() if device is None else t.cuda(device))

    def cpu(self):
        """Moves all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self, dst_type):
        """Converts all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Converts floating point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self):
        """Converts floating point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self):
        """Converts floating point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self):
        """Converts floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self):
        """Moves the parameters and buffers to shared memory."""
        return self._apply(lambda t: t.share_memory_())

    def train(self, mode=True):
        """Sets training mode for this module and all below it (dropout, batch norm); returns the module."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Sets requires_grad of all parameters; returns the module."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Drops all gradients (or, set_to_none=False, fills them with zeros)."""
        for param in self.parameters():
            if param.grad is not None:
                if set_to_none:
                    param.grad = None
                else:
                    if param.grad.grad_fn is not None:
                        param.grad.detach_()
                    else:
                        param.grad.requires_grad_(False)
                    param.grad.zero_()

    def compile(self, *args, **kwargs):
        """Not there yet: the eager engine runs every step."""
        raise NotImplementedError("Module.compile: fireseed has no compiled mode yet; call the module as it is")

    # ---- printing -----------------------------------------------------------------------------------------------
    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """The text between the parentheses of repr; override it."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        children = [f"({name}): " + _addindent(repr(module), 2) for name, module in self._modules.items()]
        name = self._get_name()
        if len(extra_lines) == 1 and not children:
            return f"{name}({extra_lines[0]})"
        lines = extra_lines + children
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{name}()"
