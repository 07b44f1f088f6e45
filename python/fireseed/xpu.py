"""PyTorch's torch.xpu: Intel's GPUs are no device of fireseed; the questions scripts ask are answered."""

__all__ = ["device_count", "empty_cache", "get_device_properties", "is_available", "manual_seed", "manual_seed_all",
           "synchronize"]


def is_available():
    """False: the devices are 'cpu' and 'cuda'."""
    return False


def device_count():
    """0."""
    return 0


def manual_seed(seed):
    """Nothing to seed."""


manual_seed_all = manual_seed


def empty_cache():
    """Nothing to give back."""


def synchronize(device=None):
    """RuntimeError: there is nothing to wait for."""
    raise RuntimeError("xpu.synchronize: fireseed has no XPU devices; the devices are 'cpu' and 'cuda'")


def get_device_properties(device=None):
    """RuntimeError: there is no such device."""
    raise RuntimeError("xpu.get_device_properties: fireseed has no XPU devices; the devices are 'cpu' and 'cuda'")
