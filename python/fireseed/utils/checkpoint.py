"""Checkpointing: values inside a part of a network are computed again in backward, not kept.

Chen et al., Training Deep Nets with Sublinear Memory Cost (2016).
"""

import contextlib

from .. import _C
from .. import random as _random
from ..autograd import Function
from ..autograd import backward as _run_backward

__all__ = ["checkpoint", "checkpoint_sequential"]


def _restart(value):
    """value cut off from its graph; a tensor that required grad still does."""
    if isinstance(value, _C.Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if isinstance(value, (tuple, list)):
        return type(value)(_restart(v) for v in value)
    return value


class _Checkpoint(Function):
    """First argument: a tensor that requires grad, so that parameters alone are enough to have a backward."""

    @staticmethod
    def forward(ctx, anchor, function, keep_rng, kwargs, context_fn, *args):
        ctx.function, ctx.kwargs, ctx.context_fn = function, kwargs, context_fn
        ctx.rng = _random.get_rng_state() if keep_rng else None
        ctx.where = [k for k, a in enumerate(args) if isinstance(a, _C.Tensor)]
        ctx.others = [None if isinstance(a, _C.Tensor) else a for a in args]
        ctx.save_for_backward(*(args[k] for k in ctx.where))
        outer = context_fn()[0] if context_fn else contextlib.nullcontext()
        with outer:
            return function(*args, **kwargs)

    @staticmethod
    def backward(ctx, *grads):
        args = list(ctx.others)
        for k, t in zip(ctx.where, ctx.saved_tensors):
            args[k] = _restart(t)
        again = ctx.context_fn()[1] if ctx.context_fn else contextlib.nullcontext()
        state = _random.get_rng_state() if ctx.rng is not None else None
        try:
            if ctx.rng is not None:
                _random.set_rng_state(ctx.rng)
            with _C.enable_grad(), again:
                outputs = ctx.function(*args, **ctx.kwargs)
        finally:
            if state is not None:
                _random.set_rng_state(state)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [
            (y, g)
            for y, g in zip(outputs, grads)
            if isinstance(y, _C.Tensor) and y.requires_grad and g is not None
        ]
        if pairs:
            _run_backward([y for y, _ in pairs], [g for _, g in pairs])
        return (None,) * 5 + tuple(a.grad if isinstance(a, _C.Tensor) else None for a in args)


def checkpoint(
    function,
    *args,
    use_reentrant=None,
    context_fn=None,
    determinism_check="default",
    debug=False,
    early_stop=True,
    preserve_rng_state=True,
    **kwargs,
):
    """function(*args, **kwargs), keeping only the tensors in args; backward runs function again.

    The random state is restored for the second run (preserve_rng_state), so that dropout draws the same
    mask. The gradient is for .backward(): parameters used by function get theirs in .grad. use_reentrant and
    the checks are accepted; both forms are one.
    """
    if not _C.is_grad_enabled():
        return function(*args, **kwargs)
    return _Checkpoint.apply(
        _C.zeros(1).requires_grad_(), function, preserve_rng_state, kwargs, context_fn, *args
    )


def checkpoint_sequential(functions, segments, input, use_reentrant=None, preserve_rng_state=True, **kwargs):
    """A Sequential (or list of modules) run in `segments` checkpointed parts; the last one is kept whole."""
    layers = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if segments < 1:
        raise ValueError(f"checkpoint_sequential: segments must be at least 1, got {segments}")
    size = max(len(layers) // segments, 1)

    def run(first, last):
        def forward(x):
            for layer in layers[first:last]:
                x = layer(x)
            return x

        return forward

    start = 0
    for _ in range(segments - 1):
        if start + size >= len(layers):
            break
        input = checkpoint(
            run(start, start + size),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
        start += size
    return run(start, len(layers))(input)
