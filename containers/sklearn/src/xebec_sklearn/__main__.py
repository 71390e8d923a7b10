"""xebec-sklearn --model-file F --name digits --version linear --listen unix:/path"""
import argparse

import joblib
import sklearn
import threadpoolctl
from xebec_worker import Tensor, serve

from .estimator import Estimator


def main():
    options = parse_options()
    fitted = joblib.load(options.model_file)
    limit_threads(fitted, options.jobs)
    try:
        estimator = Estimator(fitted, options.method, dict([options.input]) if options.input else None)
    except ValueError as error:
        raise SystemExit(f"xebec-sklearn: {options.model_file}: {error}") from error
    serve(estimator, model=options.name, version=options.version, inputs=estimator.inputs, outputs=estimator.outputs,
          listen=options.listen, files=[options.model_file], max_rows=options.max_rows,
          metadata={"framework": f"scikit-learn {sklearn.__version__}", "estimator": type(fitted).__name__,
                    "method": options.method})


def parse_options():
    parser = argparse.ArgumentParser(prog="xebec-sklearn", description="Serves a fitted estimator to the Xebec gateway.",
                                     epilog="A joblib or pickle file runs code when it is loaded: serve only files you trust.")
    parser.add_argument("--model-file", required=True, metavar="FILE", help="what joblib.dump() or pickle.dump() wrote")
    parser.add_argument("--name", required=True, help="the model's name in the gateway's configuration")
    parser.add_argument("--version", required=True, help="and the version's")
    parser.add_argument("--listen", default="0.0.0.0:9000", metavar="ADDRESS",
                        help="host:port or unix:/path (default: %(default)s)")
    parser.add_argument("--method", choices=["predict", "predict_proba"], default="predict",
                        help="predict: output `label`; predict_proba: `probabilities` and `label` (default: %(default)s)")
    parser.add_argument("--input", type=input_tensor, metavar="NAME:DATATYPE:SHAPE",
                        help="pixels:FP32:-1,64, or text:BYTES:-1 (default: features, FP32, as many as it was fitted on)")
    parser.add_argument("--max-rows", type=int, default=0, metavar="N", help="the largest batch to take (default: any)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="threads in one call: more than 1 helps only large batches (default: %(default)s)")
    return parser.parse_args()


def input_tensor(text):
    try:
        name, datatype, shape = text.split(":")
        return name, Tensor(datatype, [int(size) for size in shape.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:DATATYPE:SHAPE, as in pixels:FP32:-1,64: {error}") from error


def limit_threads(fitted, jobs):
    """Handing small batches to other threads costs more than it saves."""
    threadpoolctl.threadpool_limits(jobs)
    parameters = fitted.get_params() if hasattr(fitted, "get_params") else {}
    knobs = {name: jobs for name in parameters if name == "n_jobs" or name.endswith("__n_jobs")}
    if knobs:
        fitted.set_params(**knobs)


if __name__ == "__main__":
    main()
