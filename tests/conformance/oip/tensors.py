"""Tensors without numpy: datatypes, values that every model may be asked with, and the two ways they are written."""
import dataclasses
import math
import struct

# The table "Tensor Data Types"; struct's letters, None: it has none.
SPECIFIED = {"BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
             "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d", "BYTES": None}
# In the .proto's comments, and Triton's.
DATATYPES = {**SPECIFIED, "BF16": None}
HALVES = ("FP16", "BF16")  # "problematic to communicate explicitly": as JSON they may be refused


@dataclasses.dataclass(frozen=True)
class Spec:
    """What metadata says of a tensor."""
    name: str
    datatype: str
    shape: tuple

    def sized(self, rows, other=3):
        """Its shape with sizes for -1: the first is that of the rows."""
        return [(rows if i == 0 else other) if size == -1 else size for i, size in enumerate(self.shape)]

    @property
    def is_batched(self):
        return bool(self.shape) and self.shape[0] == -1


@dataclasses.dataclass
class Tensor:
    name: str
    datatype: str
    shape: list
    data: list  # flat; BYTES: str or bytes

    def rest(self, **more):
        return {"name": self.name, "shape": self.shape, "datatype": self.datatype, "data": self.data, **more}

    def nested(self):
        return {**self.rest(), "data": nest(self.data, self.shape)}

    def binary(self):
        return pack(self.datatype, self.data)


def count(shape):
    return math.prod(shape)


def parse_spec(text):
    """NAME:DATATYPE:SIZE,SIZE,..."""
    name, datatype, sizes = text.rsplit(":", 2)
    if datatype not in DATATYPES:
        raise ValueError(f"{datatype} is no datatype")
    return Spec(name, datatype, tuple(int(size) for size in sizes.split(",") if size))


def is_integer(datatype):
    return datatype.startswith(("INT", "UINT"))


def is_float(datatype):
    return datatype.startswith(("FP", "BF"))


def range_of(datatype):
    bits = int(datatype.lstrip("UINT"))
    return (0, 2**bits - 1) if datatype[0] == "U" else (-(2**(bits - 1)), 2**(bits - 1) - 1)


# --- values -----------------------------------------------------------------------------------------------

def harmless(datatype, n, seed=0):
    """Small ones, which hardly a model chokes on, and which all floating-point types hold exactly."""
    if datatype == "BOOL":
        return [(i + seed) % 2 == 0 for i in range(n)]
    if datatype == "BYTES":
        return [f"s{i + seed}" for i in range(n)]
    return [(i + seed) % 50 + (0.25 if is_float(datatype) else 0) for i in range(n)]


def extreme(datatype, n):
    """The ends of the range and what is easily lost on the way, over and over."""
    largest = {"FP16": 65504.0, "FP32": struct.unpack("<f", b"\xff\xff\x7f\x7f")[0], "FP64": 1.7976931348623157e308, "BF16": 2.0**127}
    if datatype == "BOOL":
        some = [True, False, False]
    elif datatype == "BYTES":
        some = ["", "Grüße", 'a "quoted" \\ word\n', "\U0001f600", "x" * 300]
    elif is_integer(datatype):
        low, high = range_of(datatype)
        some = [low, high, 0, 1, high - 1]
    else:
        some = [largest[datatype], -largest[datatype], 0.1, 1e-3, 2.0**-14]
    return [some[i % len(some)] for i in range(n)]


def rounded(datatype, values):
    """As the datatype holds them."""
    if datatype == "BYTES":
        return [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return unpack(datatype, pack(datatype, values))


# --- as JSON and as bytes -----------------------------------------------------------------------------------

def nest(data, shape):
    if len(shape) <= 1:
        return data
    step = count(shape[1:])
    return [nest(data[i * step:(i + 1) * step], shape[1:]) for i in range(shape[0])]


def flatten(data):
    if not isinstance(data, list):
        return [data]
    return [each for part in data for each in flatten(part)] if any(isinstance(part, list) for part in data) else data


def pack(datatype, values):
    if datatype == "BYTES":
        items = [value if isinstance(value, bytes) else value.encode() for value in values]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    if datatype == "BF16":
        return b"".join(struct.pack("<I", struct.unpack("<I", struct.pack("<f", value))[0] + 0x8000)[2:] for value in values)
    return struct.pack(f"<{len(values)}{SPECIFIED[datatype]}", *values)


def unpack(datatype, data):
    """ValueError where the bytes are not whole elements."""
    if datatype == "BYTES":
        return _unpack_bytes(data)
    if datatype == "BF16":
        data, datatype = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2)), "FP32"
    letter = SPECIFIED[datatype]
    if len(data) % struct.calcsize(f"<{letter}"):
        raise ValueError(f"{len(data)} bytes are not whole elements of {datatype}")
    return list(struct.unpack(f"<{len(data) // struct.calcsize('<' + letter)}{letter}", data))


def _unpack_bytes(data):
    items, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at:at + 4], "little")
        if at + 4 + length > len(data):
            raise ValueError("an element of BYTES is longer than what is left")
        items.append(data[at + 4:at + 4 + length])
        at += 4 + length
    return items


def is_element(datatype, value):
    """Whether a JSON value can be an element."""
    if datatype == "BOOL":
        return isinstance(value, bool)
    if datatype == "BYTES":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return is_float(datatype) and value in ("NaN", "Infinity", "-Infinity")  # JSON has no words for them
    if is_integer(datatype):
        low, high = range_of(datatype)
        return value == int(value) and low <= value <= high
    return True
