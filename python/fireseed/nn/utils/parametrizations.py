"""PyTorch's import path of the parametrizations."""
from ._weight_norm import spectral_norm, weight_norm  # noqa: F401
