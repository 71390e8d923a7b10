"""load(FOLDER, NAME): one of make_models' models as a function of float32 rows; what every server in Python calls.

One thread a call: handing small batches to other threads costs more than it saves, and servers bring their own processes.
"""
import os
from pathlib import Path

FLOATS = 784
LENGTHS = {"noop": 4, "svm": FLOATS, "forest": FLOATS, "cnn": FLOATS}


def load(folder, name):
    if name == "noop":
        return lambda rows: rows
    return onnx_model(Path(folder) / f"{name}.onnx") if name == "cnn" else estimator(Path(folder) / f"{name}.joblib")


def load_from_environment():
    """$BENCH_FOLDER, $BENCH_MODEL: for servers that start their processes themselves."""
    return load(os.environ["BENCH_FOLDER"], os.environ["BENCH_MODEL"])


def estimator(file):
    import joblib
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
    return joblib.load(file).predict


def onnx_model(file, output="label"):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda rows: session.run([output], {"x": rows})[0]
