"""xebec-sklearn --model-path F --name digits --version linear --listen unix:/path"""
import joblib
import sklearn
import threadpoolctl
from xebec_worker import serve
from xebec_worker.container import Options, count, find_model, loading, named_tensor

from .estimator import Estimator


def main():
    options = parse_options()
    with loading("xebec-sklearn", options.model_path):
        file = find_model(options.model_path, "*.joblib", "*.pkl", "*.pickle")
        fitted = joblib.load(file)
        limit_threads(fitted, options.jobs)
        estimator = Estimator(fitted, options.method, dict([options.input]) if options.input else None)
    serve(estimator, model=options.name, version=options.version, tls=Options.tls(options),
          inputs=estimator.inputs, outputs=estimator.outputs,
          listen=options.listen, files=[file], max_rows=options.max_rows,
          metadata={"framework": f"scikit-learn {sklearn.__version__}", "estimator": type(fitted).__name__,
                    "method": options.method})


def parse_options():
    parser = Options("xebec-sklearn", "Serves a fitted estimator to the Xebec gateway.",
                     "what joblib.dump() or pickle.dump() wrote, or a directory that holds it as the only *.joblib or *.pkl",
                     epilog="A joblib or pickle file runs code when it is loaded: serve only files you trust.")
    parser.add_argument("--method", choices=["predict", "predict_proba"], default="predict",
                        help="predict: output `label`; predict_proba: `probabilities` and `label` (default: %(default)s)")
    parser.add_argument("--input", type=named_tensor, metavar="NAME:DATATYPE:SHAPE",
                        help="pixels:FP32:-1,64, or text:BYTES:-1 (default: features, FP32, as many as it was fitted on)")
    parser.add_argument("--jobs", type=count, default=1, metavar="N",
                        help="threads in one call: more than 1 helps only large batches (default: %(default)s)")
    return parser.read()


def limit_threads(fitted, jobs):
    """Handing small batches to other threads costs more than it saves."""
    threadpoolctl.threadpool_limits(jobs)
    parameters = fitted.get_params() if hasattr(fitted, "get_params") else {}
    knobs = {name: jobs for name in parameters if name == "n_jobs" or name.endswith("__n_jobs")}
    if knobs:
        fitted.set_params(**knobs)


if __name__ == "__main__":
    main()
