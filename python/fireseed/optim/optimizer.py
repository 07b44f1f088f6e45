"""Optimizer: parameter groups, per-parameter state, hooks and state dicts, in PyTorch's layout."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections import OrderedDict, defaultdict
from copy import deepcopy

import fireseed as fs

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]


class _Required:
    """Default of an option that each parameter group must give."""

    def __repr__(self):
        return "<required parameter>"


required = _Required()

# Note [Changes of state]
# A fused step keeps flat lists of state tensors. They are out of date as soon as some state dict holds another object
# under a key; this counter tells so at the price of one comparison a step.
_changes = [0]


class _ParamState(dict):
    """The state of one parameter; replacing, adding or removing an entry is noticed."""

    __slots__ = ()

    def __setitem__(self, key, value):
        if self.get(key) is not value:
            _changes[0] += 1
        dict.__setitem__(self, key, value)

    def __reduce__(self):
        return (_ParamState, (dict(self),))


def _noticing(name):
    method = getattr(dict, name)

    @functools.wraps(method)
    def changed(self, *args, **kwargs):
        _changes[0] += 1
        return method(self, *args, **kwargs)

    return changed


for _name in ("__delitem__", "clear", "pop", "popitem", "setdefault", "update", "__ior__"):
    setattr(_ParamState, _name, _noticing(_name))


class _StateTable(defaultdict):
    """Parameter -> _ParamState; entries are made when first asked for."""

    def __init__(self, factory=_ParamState, *args, **kwargs):
        super().__init__(factory, *args, **kwargs)

    def __setitem__(self, key, value):
        _changes[0] += 1
        if type(value) is dict:
            value = _ParamState(value)
        super().__setitem__(key, value)


for _name in ("__delitem__", "clear", "pop", "popitem", "update", "__ior__"):
    setattr(_StateTable, _name, _noticing(_name))


class _Handle:
    """Removes a hook; also as a context manager."""

    _next_id = itertools.count()

    def __init__(self, hooks):
        self._hooks = hooks
        self.id = next(_Handle._next_id)

    def remove(self):
        self._hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


def _register(hooks, hook, prepend=False):
    handle = _Handle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


_global_pre_hooks: OrderedDict = OrderedDict()
_global_post_hooks: OrderedDict = OrderedDict()


def register_optimizer_step_pre_hook(hook):
    """Calls ``hook(optimizer, args, kwargs)`` before every optimizer's step; returns a removable handle."""
    return _register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Calls ``hook(optimizer, args, kwargs)`` after every optimizer's step; returns a removable handle."""
    return _register(_global_post_hooks, hook)


def _with_hooks(step):
    """``step`` between the pre and post hooks."""

    @functools.wraps(step)
    def hooked_step(*args, **kwargs):
        self = args[0]
        for hook in [*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
            result = hook(self, args, kwargs)
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {result}.")
            args, kwargs = result
        out = step(*args, **kwargs)
        for hook in [*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()]:
            hook(self, args, kwargs)
        return out

    hooked_step.hooked = True
    return hooked_step


def _scalar_dtype():
    """dtype of step counts: float64 under a float64 default, else float32."""
    return fs.float64 if fs.get_default_dtype() == fs.float64 else fs.float32


def _number(value):
    """A Python number of a number or one-element tensor."""
    return value.item() if isinstance(value, fs.Tensor) else value


def _check_lr(lr, text="Invalid learning rate"):
    if isinstance(lr, fs.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"{text}: {lr}")


def _check_non_negative(**values):
    """ValueError "Invalid <name> value: v" unless every value is >= 0 (``eps`` is named epsilon)."""
    for name, value in values.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {'epsilon' if name == 'eps' else name} value: {value}")


def _check_betas(betas):
    for i, beta in enumerate(betas[:2]):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def _check_flags(defaults):
    """Options of PyTorch's that choose an implementation; there is one here, which serves for all but one."""
    if defaults.get("fused"):
        if defaults.get("differentiable"):
            raise RuntimeError("`fused` does not support `differentiable`")
        if defaults.get("foreach"):
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if defaults.get("differentiable"):
        raise NotImplementedError(
            "differentiable=True is not supported: write the update with tensor operations to differentiate through it"
        )


class Optimizer:
    """Base class of all optimizers.

    Args:
        params: an iterable of tensors, of (name, tensor) pairs, or of dicts with a "params" entry and options of their
            own (parameter groups).
        defaults: options of the groups that do not give their own.
    """

    _numbers = ("step",)  # states that are single numbers, whatever the parameter's shape

    def __init__(self, params, defaults):
        self.defaults = defaults
        self._make_hook_tables()
        self._patch_step_function()
        if isinstance(params, fs.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + type(params).__name__
            )
        self.state = _StateTable()
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _make_hook_tables(self):
        for name in (
            "_optimizer_step_pre_hooks",
            "_optimizer_step_post_hooks",
            "_optimizer_state_dict_pre_hooks",
            "_optimizer_state_dict_post_hooks",
            "_optimizer_load_state_dict_pre_hooks",
            "_optimizer_load_state_dict_post_hooks",
        ):
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())
        self._plans = None

    def _patch_step_function(self):
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = _with_hooks(cls.step)

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._make_hook_tables()
        self._patch_step_function()
        _changes[0] += 1
        self.defaults.setdefault("differentiable", False)

    def __repr__(self):
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"

    # --- hooks ---------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook):
        """Calls ``hook(optimizer, args, kwargs)`` before each step; it may return new (args, kwargs)."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer)`` before state_dict."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer, state_dict)`` after state_dict; what it returns, unless None, replaces the result."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer, state_dict)`` before load_state_dict; what it returns, unless None, is loaded."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer)`` after load_state_dict."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # --- state dicts ---------------------------------------------------------------------------------------------

    def state_dict(self):
        """The state as a dict: "state" by the parameters' positions, "param_groups" with positions for tensors."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        position = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                position.setdefault(id(p), len(position))
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [position[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {
            position[id(key)] if isinstance(key, fs.Tensor) else key: dict(value) if isinstance(value, dict) else value
            for key, value in self.state.items()
        }
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict):
        """Takes over a state made by :meth:`state_dict`: options, and state cast to the parameters' dtypes."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(self.param_groups, saved)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        param_of = {}
        for ours, theirs in zip(self.param_groups, saved):
            param_of.update(zip(theirs["params"], ours["params"]))
        state = _StateTable()
        for key, value in state_dict["state"].items():
            if key in param_of:
                param = param_of[key]
                state[param] = self._cast_state(param, value)
            else:
                state[key] = value
        for ours, theirs in zip(self.param_groups, saved):
            theirs["params"] = ours["params"]
            if "param_names" in ours:
                theirs.setdefault("param_names", ours["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _cast_state(self, param, value, key=None):
        if isinstance(value, fs.Tensor):
            if key in self._numbers:  # step counts and the like keep their dtype
                return value.to(device=param.device, copy=True)
            return value.to(dtype=param.dtype, device=param.device).detach().clone()
        if isinstance(value, dict):
            return {k: self._cast_state(param, v, k) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._cast_state(param, v) for v in value)
        return value

    # --- groups --------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group):
        """Adds a group: a dict with "params" and, where they differ from the defaults, options."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, fs.Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        if names:
            if len(names) != len(params):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are missing"
                )
            params = [p[1] for p in params]
            param_group["param_names"] = names
        param_group["params"] = params
        for p in params:
            if not isinstance(p, fs.Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + type(p).__name__)
            if not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        ids = {id(p) for p in params}
        if len(ids) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                have = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {have} to the optimizer"
                )
            if any(id(p) in ids for p in group["params"]):
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)
        self._plans = None

    # --- steps ---------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none=True):
        """Forgets the gradients of all parameters, or fills them with zeros in place if not ``set_to_none``."""
        if set_to_none:
            fs._C._clear_grads(self.param_groups)
            return
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.grad_fn is not None:
                    p.grad = p.grad.detach()
                else:
                    p.grad.requires_grad_(False)
                p.grad.zero_()

    def step(self, closure=None):
        """Updates the parameters once. ``closure`` computes the loss (and gradients) anew; its value is returned."""
        raise NotImplementedError
