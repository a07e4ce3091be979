"""Networks as ONNX files, for other programs to run."""

from .export import export_onnx

__all__ = ["export_onnx"]
