"""ONNX export: fireseed.onnx.export(model, args, "model.onnx")."""
from ._export import TrainingMode, export, is_in_onnx_export
from .errors import OnnxExporterError, UnsupportedOperatorError

__all__ = ["OnnxExporterError", "TrainingMode", "UnsupportedOperatorError", "export", "is_in_onnx_export"]
