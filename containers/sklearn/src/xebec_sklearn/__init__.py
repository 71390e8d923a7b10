"""Serves a scikit-learn estimator from a file to the Xebec gateway."""
from .estimator import Estimator

__all__ = ["Estimator"]
