"""fireseed: a small, fast training engine with PyTorch's API (`import fireseed as torch`).

Only the compiled engine loads at import; nn, optim, utils and the rest load when they are first used.
"""
from . import _C
from ._C import (  # noqa: F401
    Generator, Size, Tensor, bfloat16, bool, default_generator, device, double, dtype, enable_grad, float, float16,
    float32, float64, half, inference_mode, int, int8, int16, int32, int64, long, no_grad, set_grad_enabled, short, uint8)

from ._namespaces import MissingMethod as _MissingMethod

__version__ = _C.__version__

globals().update({_name: getattr(_C, _name) for _name in _C._function_names})

# Modules that load when they are first named.
_MODULES = frozenset((
    "nn", "optim", "utils", "autograd", "train", "linalg", "special", "random", "cuda", "distributions", "func", "backends",
    "serialization", "jit", "amp", "datasets", "version", "types", "multiprocessing", "hub",
    "_tensor_str", "onnx", "compiler", "signal", "masked", "functional", "testing", "accelerator", "cpu", "mps", "xpu",
    "distributed", "torch_version", "__config__", "sklearn"))
# Names that live in a module of their own, loaded with it.
_LAZY = {
    "save": "serialization", "load": "serialization",
    "manual_seed": "random", "seed": "random", "initial_seed": "random", "get_rng_state": "random",
    "set_rng_state": "random", "fork_rng": "random",
    "set_printoptions": "_tensor_str",
    "finfo": "_python_api", "iinfo": "_python_api", "is_tensor": "_python_api", "typename": "_python_api",
    "strided": "_python_api", "sparse_coo": "_python_api", "layout": "_python_api", "memory_format": "_python_api",
    "contiguous_format": "_python_api", "preserve_format": "_python_api", "channels_last": "_python_api",
    "channels_last_3d": "_python_api", "compile": "_python_api", "is_storage": "_python_api",
    "spmm": "_python_api",
    "set_default_device": "_python_api", "get_default_device": "_python_api", "set_default_tensor_type": "_python_api",
    "use_deterministic_algorithms": "_python_api", "are_deterministic_algorithms_enabled": "_python_api",
    "set_float32_matmul_precision": "_python_api", "get_float32_matmul_precision": "_python_api",
    "FloatTensor": "_python_api", "DoubleTensor": "_python_api", "HalfTensor": "_python_api",
    "BFloat16Tensor": "_python_api", "LongTensor": "_python_api", "IntTensor": "_python_api",
    "ShortTensor": "_python_api", "CharTensor": "_python_api", "ByteTensor": "_python_api", "BoolTensor": "_python_api",
    "inf": "_python_api", "nan": "_python_api", "pi": "_python_api", "e": "_python_api", "newaxis": "_python_api",
    "broadcast_shapes": "_python_api",
    "Node": "_python_api",
    "meshgrid": "_varargs", "broadcast_tensors": "_varargs", "block_diag": "_varargs", "cartesian_prod": "_varargs",
    "unravel_index": "_varargs", "histogramdd": "_varargs",
    "atleast_1d": "_varargs", "atleast_2d": "_varargs", "atleast_3d": "_varargs",
    "OutOfMemoryError": "cuda",
    "as_torch": "_as_torch", "vmap": "func", "MissingError": "_namespaces", "GradScaler": "amp",
    "autocast": "amp", "get_autocast_dtype": "amp", "set_autocast_dtype": "amp.autocast_mode",
    "get_autocast_gpu_dtype": "_autocast_names", "get_autocast_cpu_dtype": "_autocast_names",
    "set_autocast_gpu_dtype": "_autocast_names", "set_autocast_cpu_dtype": "_autocast_names",
    "is_autocast_cpu_enabled": "_autocast_names", "set_autocast_cpu_enabled": "_autocast_names",
    "_rebuild_tensor": "_pickle", "_rebuild_parameter": "_pickle",
}
_MATRIX = ("cholesky", "cholesky_inverse", "cholesky_solve", "det", "geqrf", "inverse", "logdet", "lu", "lu_solve",
           "matrix_exp", "matrix_power", "orgqr", "ormqr", "pinverse", "qr", "slogdet", "svd", "triangular_solve")
_LAZY.update(dict.fromkeys(
    _MATRIX + ("chain_matmul", "lu_unpack", "pca_lowrank", "svd_lowrank"), "linalg._toplevel"))
_LAZY.update(dict.fromkeys((
    "bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"), "signal._toplevel"))

_LAZY.update(dict.fromkeys((
    "_assert", "bilinear", "frobenius_norm", "get_deterministic_debug_mode", "get_device", "get_device_module",
    "is_deterministic_algorithms_warn_only_enabled", "is_same_size", "is_signed",
    "is_warn_always_enabled", "nuclear_norm", "pdist", "rrelu", "rrelu_", "set_deterministic_debug_mode",
    "set_flush_denormal", "set_warn_always", "vander"), "_extras"))


class _LazyMethod:
    """A method of Tensor that is a function in a module of its own, or up here, loaded when it is first named."""

    def __init__(self, name, module=None):
        self.name, self.module = name, module

    def __get__(self, tensor, kind=None):
        if self.module is None:
            function = __getattr__(self.name)
        else:
            from importlib import import_module
            function = getattr(import_module("." + self.module, __name__), self.name)
        setattr(Tensor, self.name, function)
        return function if tensor is None else function.__get__(tensor)


for _name in _MATRIX:
    setattr(Tensor, _name, _LazyMethod(_name))
for _name in ("apply_", "as_subclass", "fill_diagonal_", "map_", "new", "to_dense"):
    setattr(Tensor, _name, _LazyMethod(_name, "_extras"))
# Methods of PyTorch's tensors that are not here: naming one says why.
for _name in ("ccol_indices cdouble cfloat chalf coalesce col_indices crow_indices dense_dim dequantize imag indices "
              "int_repr is_coalesced istft q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale "
              "q_zero_point qscheme real resize_as_sparse_ row_indices smm sparse_dim sparse_mask sparse_resize_ "
              "sparse_resize_and_clear_ sspaddmm stft storage to_mkldnn to_padded_tensor to_sparse to_sparse_bsc "
              "to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr untyped_storage values").split():
    setattr(Tensor, _name, _MissingMethod(_name))


def __getattr__(name):
    from importlib import import_module
    if name in _LAZY:
        value = getattr(import_module("." + _LAZY[name], __name__), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        try:
            return import_module("." + name, __name__)
        except ModuleNotFoundError as error:
            if error.name not in (f"{__name__}.{name}", f"torch.{name}"):
                raise
    if name in _C._nn.__dict__:  # torch.conv2d, torch.layer_norm and the like
        value = getattr(_C._nn, name)
        globals()[name] = value
        return value
    if name.startswith("_foreach_"):
        from ._foreach import foreach
        function = foreach(name[len("_foreach_"):])
        if function is not None:
            return function
    if name == "__all__":  # from torch import *
        return [n for n in __dir__() if not n.startswith("_") and n not in _MODULES]
    import sys

    from ._namespaces import missing_attribute
    raise missing_attribute(__name__, name, sys.modules[__name__])


def __dir__():
    return sorted(set(globals()) | set(_LAZY) | _MODULES)
