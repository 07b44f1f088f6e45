"""PyTorch's torch.backends.cudnn: fireseed's kernels are its own; the switches are remembered and change nothing."""
import contextlib

__all__ = ["allow_tf32", "benchmark", "benchmark_limit", "deterministic", "enabled", "flags", "is_acceptable",
           "is_available", "version"]

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


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
    old = {name: globals()[name] for name in new}
    globals().update(new)
    try:
        yield
    finally:
        globals().update(old)
