"""Parameters as one vector and back."""
from ... import _C


def parameters_to_vector(parameters):
    """All parameters, flattened and joined: (total number of elements)."""
    return _C.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec, parameters):
    """Sets the parameters to the pieces of a vector, as parameters_to_vector joins them."""
    if not isinstance(vec, _C.Tensor):
        raise TypeError(f"expected Tensor, but got: {type(vec).__name__}")
    at = 0
    for p in parameters:
        n = p.numel()
        p.data = vec[at:at + n].reshape(p.shape).detach()
        at += n
