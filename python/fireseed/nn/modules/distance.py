"""PyTorch's import path of CosineSimilarity, PairwiseDistance."""
from .shape import CosineSimilarity, PairwiseDistance  # noqa: F401
