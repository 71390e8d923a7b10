"""xebec-mlflow --model-path DIRECTORY --name wine --version 1 --listen unix:/path"""
import logging
import os

from xebec_worker import serve
from xebec_worker.container import Options, find_model, loading, named_tensor

from .model import MlflowModel


def main():
    options = parse_options()
    logging.getLogger("mlflow").handlers.clear()  # its lines go where all others go
    logging.getLogger("mlflow").propagate = True
    with loading("xebec-mlflow", options.model_path):
        directory = find_model(options.model_path, "MLmodel").parent
        model = MlflowModel(directory, dict(options.input), dict(options.output), dict(options.param))
    serve(model, model=options.name, version=options.version, tls=Options.tls(options),
          inputs=model.inputs, outputs=model.outputs,
          listen=options.listen, digest=model.digest, max_rows=options.max_rows, metadata=model.metadata)
    os._exit(0)  # all calls are answered; taking down what MLflow imported would cost a second or more


def parse_options():
    parser = Options("xebec-mlflow", "Serves an MLflow model directory to the Xebec gateway.",
                     "a directory with an MLmodel file, or that file",
                     epilog="Loading an MLflow model runs code that is in it: serve only models you trust.")
    parser.add_argument("--input", action="append", default=[], type=named_tensor, metavar="NAME:DATATYPE:SHAPE",
                        help="an input of a model without a signature; may be given several times")
    parser.add_argument("--output", action="append", default=[], type=named_tensor, metavar="NAME:DATATYPE:SHAPE",
                        help="an output, where the signature has none (default: what it answers to a row of zeros)")
    parser.add_argument("--param", action="append", default=[], type=assignment, metavar="NAME=VALUE",
                        help="an inference parameter of the signature, for every call; may be given several times")
    return parser.read()


def assignment(text):
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError
    return name, value


if __name__ == "__main__":
    main()
