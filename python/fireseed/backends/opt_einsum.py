"""PyTorch's torch.backends.opt_einsum: fireseed does not use opt_einsum."""

__all__ = ["is_available"]


def is_available():
    """False: no opt_einsum is used."""
    return False


enabled = False
strategy = None
