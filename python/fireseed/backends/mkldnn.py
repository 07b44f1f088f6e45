"""PyTorch's torch.backends.mkldnn: fireseed does not use oneDNN."""

__all__ = ["is_available"]


def is_available():
    """False: no oneDNN is used."""
    return False


enabled = True
deterministic = False
allow_tf32 = True
