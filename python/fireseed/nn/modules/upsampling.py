"""PyTorch's import path of Upsample, UpsamplingBilinear2d, UpsamplingNearest2d."""
# ruff: noqa: F401, F403, F405
from .shape import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
