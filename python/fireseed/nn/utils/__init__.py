"""Utilities for parameters, gradients and sequences."""
_WHERE = {
    "clip_grad": ("clip_grad_norm_", "clip_grad_norm", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"),
    "convert_parameters": ("parameters_to_vector", "vector_to_parameters"),
    "fusion": ("fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"),
    "_weight_norm": ("remove_weight_norm",),
    "_spectral_norm": ("spectral_norm", "remove_spectral_norm"),
    "memory_format": ("convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"),
    "init": ("skip_init",),
    "rnn": (), "parametrize": (), "parametrizations": (), "prune": (), "stateless": (),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}


def weight_norm(module, name="weight", dim=0):
    """w = g v / |v| with parameters <name>_g and <name>_v (Salimans and Kingma 2016)."""
    from ._weight_norm import old_weight_norm
    return old_weight_norm(module, name, dim)


def __getattr__(name):
    import importlib
    if name in _MODULE_OF:
        value = getattr(importlib.import_module("." + _MODULE_OF[name], __name__), name)
        globals()[name] = value
        return value
    if name in _WHERE:
        return importlib.import_module("." + name, __name__)
    from ..._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
