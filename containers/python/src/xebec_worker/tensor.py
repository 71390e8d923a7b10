"""Tensor: what a signature says of one array; and the worker protocol's bytes <-> numpy arrays.

On the wire: little-endian, row-major; a BYTES tensor is, for each element, a u32 length and that many bytes.
"""
import dataclasses
import math
import struct

import numpy

from . import protocol

protocol.refresh()
from . import worker_pb2 as pb  # noqa: E402

ANY = -1
DIMS_MAX = 8
# numpy has no bfloat16: BF16 arrays hold its bit patterns.
DTYPES = {"BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
          "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O", "BF16": "<u2"}
DTYPES = {name: numpy.dtype(code) for name, code in DTYPES.items()}
U32 = struct.Struct("<I")


class Mismatch(ValueError):
    """An array is not what the signature says, in words."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A declared input or output: Tensor("FP32", [-1, 64]).

    Dimension 0 is the row dimension and always -1; -1 elsewhere: any size.
    encoding: how the elements of BYTES look in a client's JSON: TEXT, BASE64, or JSON (each one a document).
    """
    datatype: str
    shape: tuple
    encoding: str = "TEXT"

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if self.datatype not in DTYPES:
            raise ValueError(f"datatype {self.datatype!r} is not one of {', '.join(DTYPES)}")
        if self.encoding not in pb.Encoding.keys():
            raise ValueError(f"encoding {self.encoding!r} is not one of {', '.join(pb.Encoding.keys())}")
        if not 1 <= len(self.shape) <= DIMS_MAX or self.shape[0] != ANY or any(size < ANY for size in self.shape):
            raise ValueError(f"shape {list(self.shape)} must be [-1, ...] with at most {DIMS_MAX} dimensions: "
                             "-1 is the row dimension")

    def __str__(self):
        return text(self.datatype, self.shape)

    @property
    def dtype(self):
        return DTYPES[self.datatype]

    def fits(self, shape):
        return len(shape) == len(self.shape) and all(mine in (ANY, size) for mine, size in zip(self.shape, shape))

    def spec(self, name, shape=None):
        """The protocol's TensorSpec: of the declaration, or of an array with this shape."""
        return pb.TensorSpec(name=name, datatype=self.datatype, encoding=self.encoding,
                             shape=self.shape if shape is None else shape)

    def filler(self, rows):
        """An array that fits, for rows whose content nobody reads."""
        shape = [rows] + [max(size, 0) for size in self.shape[1:]]
        return numpy.full(shape, b"" if self.datatype == "BYTES" else 0, self.dtype)


def text(datatype, shape):
    return f"{datatype}[{','.join(map(str, shape))}]"


def decode(tensor, spec, data):
    """The array that `data` holds: read-only and without a copy, but for BYTES. Raises Mismatch."""
    shape = tuple(spec.shape)
    if spec.datatype != pb.Datatype.Value(tensor.datatype) or not tensor.fits(shape) or min(shape) < 0:
        got = pb.Datatype.Name(spec.datatype) if spec.datatype in pb.Datatype.values() else spec.datatype
        raise Mismatch(f"input {spec.name} is {text(got, shape)}, declared {tensor}")
    count = math.prod(shape)
    if tensor.datatype == "BYTES":
        return _decode_bytes(spec.name, shape, count, data)
    if len(data) != count * tensor.dtype.itemsize:
        raise Mismatch(f"input {spec.name} is {text(tensor.datatype, shape)} but has {len(data)} bytes")
    return numpy.frombuffer(data, tensor.dtype).reshape(shape) if count else tensor.filler(shape[0]).reshape(shape)


def _decode_bytes(name, shape, count, data):
    items, at, end = [], 0, len(data)
    while end - at >= U32.size:
        (length,) = U32.unpack_from(data, at)
        at += U32.size + length
        items.append(data[at - length:at])
    if at != end or len(items) != count:
        raise Mismatch(f"input {name} is {text('BYTES', shape)} but its bytes are not {count} elements")
    array = numpy.empty(count, object)
    array[:] = items
    return array.reshape(shape)


def checked(name, tensor, value, rows):
    """What a model returned for one output, as an array of the declared datatype. Raises Mismatch.

    Casts only where no value can change; Python's own floats have no width, so a list of them fits FP32 too.
    """
    array = _checked_bytes(name, value) if tensor.datatype == "BYTES" else _checked_numbers(name, tensor, value)
    if array.ndim == 0 or len(array) != rows:
        got = "a scalar" if array.ndim == 0 else f"{len(array)} rows"
        raise Mismatch(f"output {name} has {got} for {rows} rows of input")
    if not tensor.fits(array.shape):
        raise Mismatch(f"output {name} is {text(tensor.datatype, array.shape)}, declared {tensor}")
    return array


def _checked_numbers(name, tensor, value):
    try:
        array = numpy.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise Mismatch(f"output {name} is not an array: {error}") from error
    widthless = not isinstance(value, (numpy.ndarray, numpy.generic)) and array.dtype.kind == tensor.dtype.kind == "f"
    if not numpy.can_cast(array.dtype, tensor.dtype, "same_kind" if widthless else "safe"):
        raise Mismatch(f"output {name} is {array.dtype}, declared {tensor}: return it as {tensor.dtype.name}")
    return array.astype(tensor.dtype, order="C", copy=False)


def _checked_bytes(name, value):
    array = numpy.array(value, object)
    flat = array.reshape(-1)
    for at, item in enumerate(flat):
        if isinstance(item, str):
            flat[at] = item.encode("utf-8", "replace")
        elif not isinstance(item, bytes):
            raise Mismatch(f"output {name} holds {type(item).__name__}, declared BYTES: return bytes or str")
    return array


def encode(array):
    """An array that checked() passed -> its bytes on the wire."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(part for item in array.flat for part in (U32.pack(len(item)), item))
