"""xebec-onnx --model-path F --name resnet --version 1 --listen unix:/path"""
import onnxruntime
from xebec_worker import serve
from xebec_worker.container import Options, count, find_model, loading, metadata_of

from .model import OnnxModel


def main():
    options = parse_options()
    with loading("xebec-onnx", options.model_path):
        file = find_model(options.model_path, "*.onnx")
        model = OnnxModel(file, options.jobs, options.output)
    # Weights of more than 2 GB are in files beside the model's, named after it: model.onnx.data, model.onnx_data.
    serve(model, model=options.name, version=options.version, tls=Options.tls(options),
          inputs=model.inputs, outputs=model.outputs,
          listen=options.listen, files=sorted(file.parent.glob(f"{file.name}*")), max_rows=options.max_rows,
          threads=options.calls, metadata=metadata_of(framework=f"onnxruntime {onnxruntime.__version__}", **model.metadata))


def parse_options():
    parser = Options("xebec-onnx", "Serves an ONNX model to the Xebec gateway.",
                     "an .onnx file, or a directory that holds it as the only *.onnx")
    parser.add_argument("--output", action="append", default=[], metavar="NAME",
                        help="serve this output; may be given several times (default: all of them)")
    parser.add_argument("--jobs", type=count, default=1, metavar="N",
                        help="threads in one call; 0: one a core (default: %(default)s)")
    parser.add_argument("--calls", type=positive, default=1, metavar="N", help="calls at the same time (default: %(default)s)")
    return parser.read()


def positive(text):
    return count(text) or count("")


if __name__ == "__main__":
    main()
