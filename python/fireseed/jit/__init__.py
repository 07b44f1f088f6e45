"""PyTorch's torch.jit: script and trace give the function or module back as it is; there is no other representation.

Annotated code runs the same with and without TorchScript, so scripts that only call what they compiled work. Saving a
compiled program is not possible: save the state_dict.
"""
from typing import Any, Final  # noqa: F401

from ..nn.modules.module import Module

__all__ = ["Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "fork", "ignore",
           "interface", "is_scripting", "is_tracing", "isinstance", "optimize_for_inference", "optimized_execution",
           "script", "script_if_tracing", "script_method", "trace", "trace_module", "unused", "wait"]


class ScriptModule(Module):
    """A Module; its methods run as Python."""


class ScriptFunction:
    """The type of compiled functions in PyTorch; nothing is of it here."""


def script(obj, optimize=None, _frames_up=0, _rcb=None, example_inputs=None):
    """obj, a function, class or module, as it is."""
    if not callable(obj):
        raise TypeError(f"jit.script: expected a function, class or module, got {type(obj).__name__}")
    return obj


def script_method(fn):
    """fn as it is (a decorator of ScriptModule's methods)."""
    return fn


export = script_if_tracing = interface = script_method


def ignore(drop=False, **kwargs):
    """A decorator, with or without arguments, that leaves the function as it is."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn):
    """A decorator: calling the function is an error in TorchScript; in Python it just runs, as in PyTorch."""
    return fn


def trace(func, example_inputs=None, optimize=None, check_trace=True, check_inputs=None, check_tolerance=1e-5,
          strict=True, example_kwarg_inputs=None, **options):
    """func itself, after one call with the example inputs, whose errors come here as they do in PyTorch.

    Control flow is not frozen: the result follows the data of each call.
    """
    from .. import no_grad
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("example_kwarg_inputs should be a dict, or example_inputs given")
    with no_grad():
        if example_kwarg_inputs is not None:
            func(**example_kwarg_inputs)
        else:
            func(*(example_inputs if type(example_inputs) in (tuple, list) else (example_inputs,)))
    return func


def trace_module(mod, inputs, **options):
    """mod itself, after one call of each method named in the dict `inputs`."""
    from .. import no_grad
    with no_grad():
        for method, args in inputs.items():
            getattr(mod, method)(*(args if type(args) in (tuple, list) else (args,)))
    return mod


def is_scripting():
    """False: code runs as Python."""
    return False


def is_tracing():
    """False: calls are not recorded."""
    return False


def freeze(mod, preserved_attrs=None, optimize_numerics=True, preserve_parameters=False):
    """mod, which must be in eval mode."""
    if mod.training:
        raise RuntimeError("Freezing is currently only implemented for modules in eval mode. Please call .eval() on "
                           "your module before freezing.")
    return mod


def optimize_for_inference(mod, other_methods=None):
    """mod in eval mode, as it is."""
    return mod.eval()


class optimized_execution:
    """A context in which nothing changes."""

    def __init__(self, should_optimize):
        self.should_optimize = should_optimize

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


def annotate(the_type, the_value):
    """the_value."""
    return the_value


class Attribute:
    """Attribute(value, type): the value with the type TorchScript should give it."""

    def __init__(self, value: Any, type: Any):
        self.value, self.type = value, type


def isinstance(obj, target_type):
    """The builtin; of a generic such as List[int] only the container is looked at."""
    import builtins
    import typing
    origin = typing.get_origin(target_type)
    if origin is typing.Union:
        return any(isinstance(obj, kind) for kind in typing.get_args(target_type))
    return builtins.isinstance(obj, origin or target_type)


class _Future:
    def __init__(self, result):
        self.result = result

    def wait(self):
        return self.result


def fork(func, *args, **kwargs):
    """A future of func's result, which is computed at once."""
    return _Future(func(*args, **kwargs))


def wait(future):
    """The result of a fork."""
    return future.wait()


def __getattr__(name):
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
