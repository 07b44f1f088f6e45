"""PyTorch's import path of Fold, Unfold."""
from .shape import Fold, Unfold  # noqa: F401
