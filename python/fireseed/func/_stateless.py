"""Calling modules with other parameters, and stacking the parameters of an ensemble."""
from .. import _C


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args, **kwargs) with the tensors of a dict, or of several dicts with distinct keys, as its own.

    See fireseed.nn.utils.stateless.functional_call. ValueError where two dicts have a key in common.
    """
    from ..nn.utils.stateless import functional_call as call

    tensors = parameter_and_buffer_dicts
    if not isinstance(tensors, dict):
        tensors = {}
        for d in parameter_and_buffer_dicts:
            both = sorted(set(d) & set(tensors))
            if both:
                raise ValueError(f"functional_call: the keys {both} are in more than one dict")
            tensors.update(d)
    return call(module, tensors, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models):
    """(parameters, buffers) of models of one class: dicts of tensors with a new first dimension, one row a model."""
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(tables, leaf):
        out = {}
        for name in tables[0]:
            tensors = [table[name] for table in tables]
            row = _C.stack([t.detach() for t in tensors]) if leaf else _C.stack(tensors)
            out[name] = row.requires_grad_(tensors[0].requires_grad) if leaf else row
        return out

    return (stacked([dict(m.named_parameters()) for m in models], True),
            stacked([dict(m.named_buffers()) for m in models], False))
