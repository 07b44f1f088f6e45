"""The recorded graph as Python sees it."""
from .. import _C

Node = _C._Node


def get_gradient_edge(tensor):
    """(node, output number) of a tensor that requires grad."""
    return tensor.grad_fn, tensor.output_nr
