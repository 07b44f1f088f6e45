"""no_grad, enable_grad, set_grad_enabled, inference_mode: the engine's context managers, also usable as decorators."""
from .. import _C

no_grad, enable_grad = _C.no_grad, _C.enable_grad
set_grad_enabled, inference_mode = _C.set_grad_enabled, _C.inference_mode


def _decorate(mode, function):
    """`function` run under a fresh copy of `mode` at each call; generators keep the mode while they run."""
    import functools
    import inspect

    if inspect.isclass(function):
        function.__init__ = _decorate(mode, function.__init__)
        return function
    if inspect.isgeneratorfunction(function):
        @functools.wraps(function)
        def generator(*args, **kwargs):
            run = function(*args, **kwargs)
            value, error = None, None
            while True:
                try:
                    with mode.clone():
                        item = run.throw(error) if error is not None else run.send(value)
                except StopIteration as stop:
                    return stop.value
                value, error = None, None
                try:
                    value = yield item
                except GeneratorExit:
                    run.close()
                    raise
                except BaseException as raised:
                    error = raised
        return generator

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with mode.clone():
            return function(*args, **kwargs)
    return wrapper
