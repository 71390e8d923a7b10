"""Serves an ONNX model to the Xebec gateway."""
from .model import OnnxModel

__all__ = ["OnnxModel"]
