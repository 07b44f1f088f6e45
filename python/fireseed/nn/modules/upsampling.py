"""PyTorch's import path of Upsample, UpsamplingBilinear2d, UpsamplingNearest2d."""
from .shape import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d  # noqa: F401
