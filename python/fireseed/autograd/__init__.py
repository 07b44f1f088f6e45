"""Gradients: backward, grad, Function, modes, anomaly detection; gradcheck and functional load when used."""
from .. import _C
from .function import Function, FunctionCtx  # noqa: F401
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled  # noqa: F401
from .variable import Variable  # noqa: F401

_PARTS = ("functional", "gradcheck", "grad_mode", "function", "graph", "anomaly_mode")


def __getattr__(name):
    from importlib import import_module
    if name in ("gradcheck", "gradgradcheck"):
        return getattr(import_module(".gradcheck", __name__), name)
    if name in ("detect_anomaly", "set_detect_anomaly"):
        return getattr(import_module(".anomaly_mode", __name__), name)
    if name in _PARTS:
        return import_module("." + name, __name__)
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Adds the gradients of the sum of `tensors` (weighted by `grad_tensors`) to the .grad of the leaves."""
    if grad_tensors is None:
        grad_tensors = grad_variables
    if inputs is not None and not isinstance(inputs, _C.Tensor) and len(inputs) == 0:
        raise RuntimeError("'inputs' argument to 'backward' cannot be empty.")
    _C._run_backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True, allow_unused=None,
         is_grads_batched=False, materialize_grads=False):
    """Gradients of the sum of `outputs` with respect to `inputs`: a tuple; .grad is left alone.

    allow_unused: an input that outputs do not depend on gives None (materialize_grads: zeros) instead of an error.
    is_grads_batched: grad_outputs have a leading dimension; so have the results, a row for each of its entries.
    """
    if allow_unused is False and materialize_grads:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                         "allow_unused=False.")
    inputs = (inputs,) if isinstance(inputs, _C.Tensor) else tuple(inputs)
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    result = _C._run_grad(outputs, inputs, grad_outputs, retain_graph, create_graph,
                          bool(allow_unused) or materialize_grads)
    if materialize_grads:
        result = tuple(_C.zeros_like(x) if g is None else g for g, x in zip(result, inputs))
    return result


def _batched_grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads):
    if isinstance(grad_outputs, _C.Tensor):
        grad_outputs = (grad_outputs,)
    count = len(grad_outputs[0])
    keep = create_graph if retain_graph is None else retain_graph
    rows = [grad(outputs, inputs, [g[i] for g in grad_outputs], keep or i + 1 < count, create_graph,
                 allow_unused=allow_unused, materialize_grads=materialize_grads) for i in range(count)]
    return tuple(None if column[0] is None else _C.stack(column) for column in zip(*rows))
