"""PyTorch's torch.backends.mkl: fireseed does not use MKL."""

__all__ = ["is_available"]


def is_available():
    """False: no MKL is used."""
    return False
