"""PyTorch's torch.backends.openmp: fireseed does not use OpenMP."""

__all__ = ["is_available"]


def is_available():
    """False: no OpenMP is used."""
    return False
