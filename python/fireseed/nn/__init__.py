"""Neural networks: PyTorch's torch.nn."""
# ruff: noqa: F401, F403, F405
from . import functional, init, parameter
from .modules import *
from .modules import __all__ as _layers
from .parallel import DataParallel
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = ["Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter", "functional",
           "init", "utils", *_layers]


def __getattr__(name):
    if name in ("utils", "attention", "common_types"):
        import importlib
        return importlib.import_module("." + name, __name__)
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
