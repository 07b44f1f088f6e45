"""PyTorch's import path of Fold, Unfold."""
# ruff: noqa: F401, F403, F405
from .shape import Fold, Unfold
