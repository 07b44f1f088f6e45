"""PyTorch's torch.cpu: the questions asked of every device, answered for the processor."""
import contextlib

__all__ = ["current_device", "current_stream", "device_count", "is_available", "set_device", "stream", "synchronize"]


def is_available():
    """The processor is there."""
    return True


def device_count():
    """One: the processor with all its cores."""
    return 1


def current_device():
    """'cpu', as PyTorch answers."""
    return "cpu"


def set_device(device):
    """There is one device; nothing to set."""


def synchronize(device=None):
    """Kernels are done when their call returns; nothing to wait for."""


def current_stream(device=None):
    """The processor has no streams: None."""
    return None


def stream(stream):
    """A context in which nothing changes."""
    return contextlib.nullcontext()


def is_initialized():
    """Always."""
    return True


def __getattr__(name):
    if name == "amp":
        from importlib import import_module
        return import_module(".amp", __name__)
    raise AttributeError(f"module 'fireseed.cpu' has no attribute '{name}'")
