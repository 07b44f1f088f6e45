"""PyTorch's import path of CosineSimilarity, PairwiseDistance."""
# ruff: noqa: F401, F403, F405
from .shape import CosineSimilarity, PairwiseDistance
