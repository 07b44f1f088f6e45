"""PyTorch's torch.backends.mps: Apple's GPUs are no device of fireseed."""

__all__ = ["is_available", "is_built"]


def is_available():
    """False: the devices are 'cpu' and 'cuda'."""
    return False


def is_built():
    """False: the devices are 'cpu' and 'cuda'."""
    return False
