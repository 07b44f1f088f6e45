"""PyTorch's import path of PixelShuffle, PixelUnshuffle."""
# ruff: noqa: F401, F403, F405
from .shape import PixelShuffle, PixelUnshuffle
