"""mlflow_save TO: the model of $BENCH_MODEL as an MLflow model: the flavors of scikit-learn and ONNX, pyfunc for the no-op."""
import os
import sys
from pathlib import Path

import mlflow


class NoOp(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


def main():
    name, source, to = os.environ["BENCH_MODEL"], Path(os.environ["BENCH_FOLDER"]), sys.argv[1]
    if name == "noop":
        mlflow.pyfunc.save_model(to, python_model=NoOp(), pip_requirements=[])
    elif name == "cnn":
        import onnx

        mlflow.onnx.save_model(onnx.load(source / "cnn.onnx"), to, pip_requirements=[],
                               onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1})
    else:
        import joblib

        mlflow.sklearn.save_model(joblib.load(source / f"{name}.joblib"), to, pip_requirements=[],
                                  serialization_format="cloudpickle")  # skops, the default, refuses trees


if __name__ == "__main__":
    main()
