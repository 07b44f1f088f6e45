"""PyTorch's import path of ChannelShuffle."""
# ruff: noqa: F401, F403, F405
from .shape import ChannelShuffle
