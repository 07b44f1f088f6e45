"""PyTorch's torch.__config__: how this fireseed was built and runs, as text."""
import platform

from . import _C

__all__ = ["parallel_info", "show"]


def show():
    """Version, instruction set and threads, one a line."""
    return (f"fireseed {_C.__version__} built with:\n  - C++20, own kernels; instruction set in use: {_C._isa()}\n"
            f"  - {platform.python_implementation()} {platform.python_version()} on {platform.platform()}\n"
            f"  - threads: {_C.get_num_threads()}\n")


def parallel_info():
    """The number of threads, as text."""
    return f"fireseed parallel info:\n  fireseed.get_num_threads() : {_C.get_num_threads()}\n"
