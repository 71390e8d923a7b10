"""MlflowModel: a model directory's python_function flavor as a worker's model, with the signature that MLmodel has."""
import hashlib
import json
import pathlib

import mlflow
import mlflow.pyfunc
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.types.schema import ParamSpec
from xebec_worker import log
from xebec_worker.container import metadata_of, sample, tensor_like
from xebec_worker.predictor import last_line
from xebec_worker.server import digest_of

from .schema import Declared, Tensors, side_of

DAWN = b"1970-01-01T00:00:00"


class MlflowModel:
    def __init__(self, directory, inputs=None, outputs=None, params=None):
        """inputs, outputs: {name: Tensor}, for what the signature lacks. params: {name: text}. Raises ValueError."""
        self.directory = pathlib.Path(directory)
        self.about = _read(self.directory)
        signature = self.about.signature
        self.taken = _inputs(signature, inputs)
        self.given = _outputs(signature, outputs)
        self.params = _params(signature, params or {})
        self.function = _loaded(self.directory)
        self._warm_up()
        self.inputs, self.outputs = self.taken.tensors, self.given.tensors

    def predict(self, /, **inputs):
        return self.given.from_model(self._ask(inputs))

    def _ask(self, inputs):
        return self.function.predict(self.taken.to_model(inputs), params=self.params or None)

    @property
    def digest(self):
        """Of every file, and of the parameters: other parameters, other answers."""
        files = digest_of(sorted(path for path in self.directory.rglob("*") if path.is_file()))
        if not self.params:
            return files
        return hashlib.sha256(f"{files} {json.dumps(self.params, sort_keys=True, default=str)}".encode()).hexdigest()

    @property
    def metadata(self):
        about = self.about
        return metadata_of(
            framework=f"mlflow {mlflow.__version__}", flavors=", ".join(sorted(about.flavors)), run_id=about.run_id,
            model_uuid=about.model_uuid, model_id=getattr(about, "model_id", None), saved_by=f"mlflow {about.mlflow_version}",
            utc_time_created=str(about.utc_time_created),
            **{f"param.{name}": value for name, value in self.params.items()},
            **{f"metadata.{name}": value for name, value in (about.metadata or {}).items()})

    def _warm_up(self):
        """The first call is slow; and its answer tells the outputs where the signature does not."""
        rows = {name: sample(tensor) for name, tensor in self.taken.tensors.items()}
        for name in self.taken.instants:
            rows[name][:] = DAWN
        try:
            answer = self._ask(rows)
        except Exception as error:
            if self.given is None:
                raise ValueError(f"its signature has no outputs, and a row of zeros could not tell them ({last_line(error)}): "
                                 "declare them with --output NAME:DATATYPE:SHAPE") from error
            log.write("warn", "warm_up_failed", error=last_line(error))
            return
        if self.given is None:
            arrays = Tensors({"output": None}).from_model(answer)
            self.given = Tensors({name: tensor_like(name, array) for name, array in arrays.items()})


def _read(directory):
    """MLmodel, as MLflow sees it. What people get wrong is said in words."""
    try:
        document = yaml.safe_load((directory / "MLmodel").read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"MLmodel is not YAML: {error}") from error
    flavors = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavors, dict):
        raise ValueError("MLmodel names no flavors: it is not a model that MLflow saved")
    if "python_function" not in flavors:
        raise ValueError(f"MLmodel has the flavors {', '.join(flavors)}, and not python_function, the one that is served")
    try:
        return Model.load(str(directory))
    except (MlflowException, TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"MLmodel can't be made sense of: {last_line(error)}") from error


def _loaded(directory):
    try:
        return mlflow.pyfunc.load_model(str(directory))
    except ModuleNotFoundError as error:
        raise ValueError(f"the model needs {error.name}, which is not installed here: build an image with the model's "
                         "requirements.txt, as containers/mlflow/README.md shows") from error


def _inputs(signature, declared):
    if signature is not None and signature.inputs is not None and signature.inputs.inputs:
        if declared:
            raise ValueError("MLmodel has a signature: --input is for models without one")
        return side_of(signature.inputs, "input")
    if not declared:
        raise ValueError("MLmodel has no signature of its inputs: log the model with one (mlflow.models.infer_signature), "
                         "or declare them with --input NAME:DATATYPE:SHAPE")
    return Declared(declared)


def _outputs(signature, declared):
    """None: the warm-up tells."""
    if signature is not None and signature.outputs is not None and signature.outputs.inputs:
        if declared:
            raise ValueError("the signature has outputs: --output is for models without them")
        return side_of(signature.outputs, "output")
    return Tensors(declared) if declared else None


def _params(signature, given):
    """--param's texts as values of the types that the signature has. Others keep the signature's defaults."""
    specs = {spec.name: spec for spec in (signature.params.params if signature is not None and signature.params else ())}
    unknown = [name for name in given if name not in specs]
    if unknown:
        raise ValueError(f"has no parameter {', '.join(unknown)}; "
                         f"its signature has {', '.join(specs) or 'none'}")
    return {name: _param(specs[name], text) for name, text in given.items()}


def _param(spec, text):
    value = text if spec.dtype.name == "string" and spec.shape is None else yaml.safe_load(text)
    try:
        return ParamSpec.validate_type_and_shape(spec.name, value, spec.dtype, spec.shape)
    except (MlflowException, ValueError) as error:
        raise ValueError(f"--param {spec.name}={text}: {error}") from error
