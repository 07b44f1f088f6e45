"""PyTorch's import path of the parametrizations."""
# ruff: noqa: F401, F403, F405
from ._orthogonal import orthogonal
from ._weight_norm import spectral_norm, weight_norm
