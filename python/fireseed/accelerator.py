"""PyTorch's torch.accelerator: the GPU, if there is one, under names that do not say its kind."""
import contextlib

from . import _C, cuda

__all__ = ["current_accelerator", "current_device_idx", "current_device_index", "device_count", "device_index",
           "empty_cache", "is_available", "set_device_idx", "set_device_index", "synchronize"]


def is_available():
    """Is there a GPU that tensors can live on?"""
    return cuda.is_available()


def device_count():
    """Number of usable GPUs."""
    return cuda.device_count()


def current_accelerator(check_available=False):
    """device("cuda") where this fireseed can use a GPU, else None."""
    return _C.device("cuda") if cuda.is_available() else None


def _need():
    if not cuda.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def current_device_index():
    """Index of the current GPU."""
    _need()
    return cuda.current_device()


def set_device_index(device):
    """Makes a GPU, by index or device, the current one."""
    _need()
    cuda.set_device(device)


current_device_idx, set_device_idx = current_device_index, set_device_index


def synchronize(device=None):
    """Waits until a GPU has done all its work."""
    _need()
    cuda.synchronize(device)


def empty_cache():
    """Gives cached GPU memory back to the driver; nothing to do without a GPU."""
    cuda.empty_cache()


@contextlib.contextmanager
def device_index(device):
    """Within it, the GPU of this index is the current one; None changes nothing."""
    if device is None:
        yield
        return
    before = current_device_index()
    set_device_index(device)
    try:
        yield
    finally:
        set_device_index(before)


def __getattr__(name):  # memory_allocated, max_memory_allocated, current_stream, …
    if not name.startswith("_") and hasattr(cuda, name):
        return getattr(cuda, name)
    from ._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
