"""PyTorch's import path of ChannelShuffle."""
from .shape import ChannelShuffle  # noqa: F401
