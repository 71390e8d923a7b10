"""Serves an MLflow model directory to the Xebec gateway."""
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before anything imports mlflow: a server of models calls nobody

from .model import MlflowModel  # noqa: E402

__all__ = ["MlflowModel"]
