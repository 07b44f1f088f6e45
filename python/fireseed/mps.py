"""PyTorch's torch.mps: Apple's GPUs are no device of fireseed; the questions scripts ask are answered."""

__all__ = ["device_count", "empty_cache", "is_available", "manual_seed", "synchronize"]


def is_available():
    """False: the devices are 'cpu' and 'cuda'."""
    return False


def device_count():
    """0."""
    return 0


def manual_seed(seed):
    """Nothing to seed."""


def empty_cache():
    """Nothing to give back."""


def synchronize():
    """Nothing to wait for."""
