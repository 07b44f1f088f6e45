"""PyTorch's import path of PixelShuffle, PixelUnshuffle."""
from .shape import PixelShuffle, PixelUnshuffle  # noqa: F401
