"""One side of an MLflow signature, inputs or outputs, <-> a worker's tensors. Knows schemas, not models.

Columns: a DataFrame to the model, one tensor [-1] for each column to the gateway. Tensors: arrays to both.
What has no name in the signature gets one: `input`, `output`, or `column0`, `column1`, ... where there are several.
"""
import numpy
import pandas
from mlflow.types.schema import ColSpec, DataType
from xebec_worker import Tensor
from xebec_worker.tensor import DTYPES

COLUMN_TENSORS = {
    DataType.boolean: Tensor("BOOL", [-1]), DataType.integer: Tensor("INT32", [-1]), DataType.long: Tensor("INT64", [-1]),
    DataType.float: Tensor("FP32", [-1]), DataType.double: Tensor("FP64", [-1]), DataType.string: Tensor("BYTES", [-1]),
    DataType.binary: Tensor("BYTES", [-1], encoding="BASE64"), DataType.datetime: Tensor("BYTES", [-1])}


def side_of(schema, default_name):
    """mlflow.types.Schema -> Columns or Tensors. Raises ValueError for what the worker protocol can't hold."""
    specs = list(schema.inputs)
    names = _names(specs, default_name)
    if all(isinstance(spec, ColSpec) for spec in specs):
        return Columns(dict(zip(names, (spec.type for spec in specs))), named=schema.has_input_names())
    return Tensors({name: _tensor(name, spec) for name, spec in zip(names, specs)}, named=schema.has_input_names())


def _names(specs, default_name):
    if len(specs) == 1:
        return [specs[0].name or default_name]
    return [spec.name or f"column{at}" for at, spec in enumerate(specs)]


def _tensor(name, spec):
    dtype = spec.type
    datatype = "BYTES" if dtype.kind in "USO" else next((key for key, known in DTYPES.items() if known == dtype), None)
    if datatype is None:
        raise ValueError(f"{name} is a tensor of {dtype}, which no datatype of the protocol holds")
    if not spec.shape or spec.shape[0] != -1:
        raise ValueError(f"{name} is a tensor {list(spec.shape)}: its first dimension must be -1, the rows. "
                         "Log the model with such a signature: TensorSpec(dtype, (-1, ...))")
    return Tensor(datatype, spec.shape)


class Columns:
    def __init__(self, types, named=True):
        nested = {name: kind for name, kind in types.items() if not isinstance(kind, DataType)}
        if nested:
            raise ValueError("; ".join(f"column {name} is {kind}: only columns of single values are served"
                                       for name, kind in nested.items()))
        self.types, self.named = types, named
        self.tensors = {name: COLUMN_TENSORS[kind] for name, kind in types.items()}
        self.instants = [name for name, kind in types.items() if kind is DataType.datetime]

    def to_model(self, arrays):
        """A DataFrame of copies, for models may write into it."""
        columns = {name: _column(kind, arrays[name]) for name, kind in self.types.items()}
        return pandas.DataFrame(columns) if self.named else pandas.DataFrame(dict(enumerate(columns.values())))

    def from_model(self, answer):
        arrays = _arrays(answer, list(self.types))
        if not isinstance(arrays, dict):
            return arrays
        return {name: _isoformat(array) if name in self.instants else array for name, array in arrays.items()}


class Tensors:
    instants = ()

    def __init__(self, tensors, named=True):
        self.tensors, self.named = tensors, named

    def to_model(self, arrays):
        arrays = {name: _texts(array) if array.dtype == object else array for name, array in arrays.items()}
        if self.named:
            return arrays
        (array,) = arrays.values()
        return array

    def from_model(self, answer):
        return _arrays(answer, list(self.tensors))


class Declared(Tensors):
    """Inputs that the command line declared, of a model without a signature: one is handed over as an array, several
    of single values as a DataFrame, several others as a dict."""

    def to_model(self, arrays):
        given = {name: _texts(array) if array.dtype == object else array for name, array in arrays.items()}
        if len(given) == 1:
            return next(iter(given.values()))
        if all(len(tensor.shape) == 1 for tensor in self.tensors.values()):
            return pandas.DataFrame(given)
        return given


def _column(kind, array):
    if kind is DataType.string:
        return _texts(array)
    if kind is DataType.datetime:
        return pandas.to_datetime(_texts(array), format="ISO8601").astype("datetime64[ns]")
    return array.copy()


def _texts(array):
    return numpy.array([item.decode() for item in array.flat], object).reshape(array.shape)


def _isoformat(array):
    """Datetimes as ISO 8601; what is text already stays."""
    return [item if isinstance(item, (str, bytes)) else pandas.Timestamp(item).isoformat() for item in array]


def _arrays(answer, names):
    """What a model answered, as arrays by name. A form that no name fits is left to the SDK, which says so."""
    if isinstance(answer, list) and answer and all(isinstance(item, dict) for item in answer):
        answer = pandas.DataFrame(answer)
    if isinstance(answer, pandas.DataFrame):
        columns = list(answer.columns)
        if set(columns) != set(names) and len(columns) == len(names):
            columns = names  # unnamed in the signature, so they are told by their place
        return {str(name): _array(answer.iloc[:, at]) for at, name in enumerate(columns)}
    if isinstance(answer, dict):
        return {str(name): _array(value) for name, value in answer.items()}
    if len(names) > 1 and numpy.ndim(answer) == 2 and numpy.shape(answer)[1] == len(names):
        return {name: _array(answer)[:, at] for at, name in enumerate(names)}
    return {names[0]: _array(answer)} if len(names) == 1 else answer


def _array(values):
    """numpy, text as objects: pandas and numpy have types of their own for it."""
    array = values.to_numpy() if hasattr(values, "to_numpy") else numpy.asarray(values)
    return array.astype(object) if array.dtype.kind in "UST" else array
