"""Serves a model to the Xebec gateway: implement predict() on numpy arrays, declare a signature, call serve()."""
from .server import serve
from .tensor import Tensor

__all__ = ["Tensor", "serve"]
