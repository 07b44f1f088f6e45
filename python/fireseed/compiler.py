"""PyTorch's torch.compiler: functions run as they are written, so there is nothing to switch."""

__all__ = ["allow_in_graph", "assume_constant_result", "cudagraph_mark_step_begin", "disable", "is_compiling",
           "is_dynamo_compiling", "is_exporting", "reset", "set_stance"]


def is_compiling():
    """False: no code is being captured."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn=None, recursive=True, *, reason=None):
    """A decorator that leaves fn as it is."""
    return fn if fn is not None else lambda f: f


def allow_in_graph(fn):
    """fn itself."""
    return fn


assume_constant_result = allow_in_graph


def reset():
    """There are no compiled functions to forget."""


def cudagraph_mark_step_begin():
    """Nothing is replayed; nothing to mark."""


class set_stance:
    """Accepted as a call, context or decorator; without compiled code every stance is 'force_eager'."""

    def __init__(self, stance="default", *, skip_guard_eval_unsafe=False, force_backend=None):
        self.stance = stance

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def __call__(self, fn):
        return fn
