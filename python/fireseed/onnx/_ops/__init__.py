"""How each op is written in ONNX: CONVERSIONS[name](call) adds nodes to call.graph and returns the results' names."""
from . import layers, pointwise, reduce, shape  # noqa: F401  (they fill the table)
from .table import CONVERSIONS

__all__ = ["CONVERSIONS"]
