"""PyTorch's torch.backends.cudnn: fireseed's kernels are its own. allow_tf32 is obeyed; the other switches are remembered and change nothing."""
import contextlib
import sys
import types

from .. import _C

__all__ = ["allow_tf32", "benchmark", "benchmark_limit", "deterministic", "enabled", "flags",  # noqa: F822 (a property)
           "is_acceptable", "is_available", "version"]

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False


class _Module(types.ModuleType):
    _allow_tf32 = True

    @property
    def allow_tf32(self):
        """May float32 convolutions on CUDA round their operands to tf32 (10 bits of mantissa)?"""
        return self._allow_tf32

    @allow_tf32.setter
    def allow_tf32(self, value):
        self._allow_tf32 = bool(value)
        _C._cuda_allow_tf32_conv(self._allow_tf32)


_module = sys.modules[__name__]
_module.__class__ = _Module


def is_available():
    """False: no cuDNN is used."""
    return False


def is_acceptable(tensor):
    """False: no cuDNN is used."""
    return False


def version():
    """None: no cuDNN is used."""
    return None


@contextlib.contextmanager
def flags(enabled=True, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True, **precision):
    """Sets the switches within a with block."""
    new = {"enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit,
           "deterministic": deterministic, "allow_tf32": allow_tf32}
    old = {name: getattr(_module, name) for name in new}
    try:
        for name, value in new.items():
            setattr(_module, name, value)
        yield
    finally:
        for name, value in old.items():
            setattr(_module, name, value)
