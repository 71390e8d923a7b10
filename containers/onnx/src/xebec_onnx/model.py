"""OnnxModel: a session of ONNX Runtime as a worker's model, with the signature that the model declares."""
import numpy
import onnxruntime
from xebec_worker import Tensor, log
from xebec_worker.container import sample
from xebec_worker.predictor import last_line
from xebec_worker.tensor import DTYPES, checked

DATATYPES = {"bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
             "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
             "string": "BYTES"}
DATATYPES = {f"tensor({name})": datatype for name, datatype in DATATYPES.items()}
WARM_UP_ROWS = 2  # so that an output that does not follow the rows is found out
ERRORS_ONLY = 3
UNSET = (1 << 63) - 1


class OnnxModel:
    def __init__(self, file, jobs=1, outputs=()):
        """jobs: threads in one call, 0 for one a core. outputs: those to serve; none: all. Raises ValueError."""
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = jobs
        settings.inter_op_num_threads = 1
        settings.log_severity_level = ERRORS_ONLY
        self.session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        nodes = {node.name: node for node in self.session.get_outputs()}
        unknown = [name for name in outputs if name not in nodes]
        if unknown:
            raise ValueError(f"has no output {', '.join(unknown)}; it has {', '.join(nodes)}")
        self.inputs = {node.name: _input(node) for node in self.session.get_inputs()}
        self.outputs = {name: _output(nodes[name]) for name in outputs or nodes}
        self._warm_up()

    def predict(self, /, **inputs):
        feeds = {name: _text(array) if array.dtype == object else array for name, array in inputs.items()}
        return dict(zip(self.outputs, self.session.run(list(self.outputs), feeds)))

    @property
    def metadata(self):
        meta = self.session.get_modelmeta()
        return {"producer": meta.producer_name, "graph": meta.graph_name, "domain": meta.domain,
                "description": meta.description, "model_version": meta.version if meta.version < UNSET else "",
                **{f"custom.{key}": value for key, value in meta.custom_metadata_map.items()}}

    def _warm_up(self):
        """The first call is slow; and its answer tells the shapes that the model does not, and whether rows stay rows."""
        rows = {name: sample(tensor, WARM_UP_ROWS) for name, tensor in self.inputs.items()}
        try:
            answers = self.predict(**rows)
        except Exception as error:
            untold = [name for name, tensor in self.outputs.items() if tensor is None]
            if untold:
                raise ValueError(f"does not declare the shape of {', '.join(untold)}, and asking it failed: {error}") from error
            log.write("warn", "warm_up_failed", error=last_line(error))
            return
        for name, answer in answers.items():
            self.outputs[name] = self.outputs[name] or _like(name, answer)
            checked(name, self.outputs[name], answer, WARM_UP_ROWS)


def _input(node):
    if not node.shape:
        raise ValueError(f"input {node.name} is a scalar or has no declared shape: rows are its first dimension")
    return Tensor(_datatype("input", node), _dynamic_rows("input", node))


def _output(node):
    """None where the model does not tell how many dimensions it has."""
    datatype = _datatype("output", node)
    return Tensor(datatype, _dynamic_rows("output", node)) if node.shape else None


def _datatype(side, node):
    if not node.type.startswith("tensor("):
        raise ValueError(f"{side} {node.name} is {node.type}, which is no tensor: leave it out with --output, or export the "
                         "model without it (skl2onnx: options={'zipmap': False})")
    if node.type not in DATATYPES:
        raise ValueError(f"{side} {node.name} is {node.type}, which ONNX Runtime does not exchange with Python")
    return DATATYPES[node.type]


def _dynamic_rows(side, node):
    """[-1, 3, -1]: what is a number stays; names and unknown sizes are any."""
    rows, *sizes = [size if isinstance(size, int) else -1 for size in node.shape]
    if rows != -1:
        raise ValueError(
            f"{side} {node.name} always has {rows} row{'s' * (rows != 1)}: it is {node.type}{node.shape}, and requests come with any "
            f"number. Export it with a dynamic first dimension (torch.onnx.export(..., dynamic_axes={{'{node.name}': {{0: 'rows'}}}})), "
            "or free it with onnx.tools.update_model_dims.update_inputs_outputs_dims()")
    return [-1, *sizes]


def _like(name, answer):
    if numpy.ndim(answer) == 0:
        raise ValueError(f"output {name} is a scalar: it has no row for each row of the input")
    datatype = next((key for key, dtype in DTYPES.items() if dtype == answer.dtype), None)
    return Tensor(datatype, [-1] * answer.ndim)


def _text(array):
    """ONNX's strings are text."""
    return numpy.array([item.decode() for item in array.flat], object).reshape(array.shape)
