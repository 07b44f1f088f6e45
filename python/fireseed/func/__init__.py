"""Function transforms: PyTorch's torch.func. Derivatives through autograd, vmap as a loop over the batch."""
from ._derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp
from ._stateless import functional_call, stack_module_state
from ._vmap import vmap

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state",
           "vjp", "vmap"]


def __getattr__(name):
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
