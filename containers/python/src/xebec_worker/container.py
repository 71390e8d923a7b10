"""What the ready-made containers share: options, each one an environment variable too, and what is done to load a model."""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import sys
import traceback

import numpy

from . import log
from .predictor import last_line
from .tensor import Tensor

METADATA_CHARACTERS_MAX = 2000


class Options(argparse.ArgumentParser):
    """--max-rows comes from XEBEC_MAX_ROWS where the command line does not give it; so does every option."""

    def __init__(self, prog, description, model, epilog=""):
        """model: what --model-path is, in words."""
        self.variables = {}  # environment variable -> action
        super().__init__(prog=prog, description=description, allow_abbrev=False, epilog=epilog +
                         " Each option may come from the environment instead: --max-rows as XEBEC_MAX_ROWS. "
                         "What may be given several times is separated by spaces there.")
        self.add_argument("--model-path", "--model-file", required=True, metavar="PATH", help=model)
        self.add_argument("--name", required=True, help="the model's name in the gateway's configuration")
        self.add_argument("--version", required=True, help="and the version's")
        self.add_argument("--listen", default="0.0.0.0:9000", metavar="ADDRESS",
                          help="host:port or unix:/path (default: %(default)s)")
        for name, what in (("certificate", "serve TLS: the PEM file of its certificate"), ("key", "... and of its private key"),
                           ("client-ca", "... to gateways alone whose certificates are from these CAs")):
            self.add_argument(f"--tls-{name}", metavar="FILE", help=what)
        self.add_argument("--max-rows", type=count, default=0, metavar="N", help="the largest batch to take (default: any)")

    def add_argument(self, *names, **how):
        action = super().add_argument(*names, **how)
        if action.dest != "help":
            self.variables[f"XEBEC_{action.dest.upper()}"] = action
        return action

    def read(self):
        """The options of this process. From here until serve() a SIGTERM ends it at once: nothing is in flight yet."""
        signal.signal(signal.SIGTERM, _stop_before_serving)
        log.capture()
        return self.parse_args(self._inherited() + sys.argv[1:])

    @staticmethod
    def tls(options):
        """For serve(tls=): what --tls-certificate, --tls-key and --tls-client-ca say."""
        return {"certificate": options.tls_certificate, "key": options.tls_key, "client_ca": options.tls_client_ca}

    def _inherited(self):
        given = {argument.partition("=")[0] for argument in sys.argv[1:]}
        words = []
        for variable, action in self.variables.items():
            several = action.default == []
            if several and given & set(action.option_strings):
                continue  # the command line's take the place of all of them
            value = os.environ.get(variable, "")
            words += [f"{action.option_strings[0]}={word}" for word in (value.split() if several else [value]) if word]
        return words


@contextlib.contextmanager
def loading(prog, path):
    """with loading(...): a model that can't be loaded ends the process, with one line that says why."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(f"{prog}: {path}: {error}") from error
    except Exception as error:
        log.write("error", "not_loaded", model_path=str(path), traceback="".join(traceback.format_exception(error)))
        raise SystemExit(f"{prog}: {path}: {last_line(error)}") from error


def find_model(path, *patterns):
    """The model's file: `path` itself, or the only file in that directory that fits a pattern. Raises ValueError."""
    path = pathlib.Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError("no such file or directory")
    found = sorted(file for pattern in patterns for file in path.glob(pattern))
    if not found:
        raise ValueError(f"holds no {' or '.join(patterns)}: put the model there, or say where it is with --model-path")
    if len(found) > 1:
        raise ValueError(f"holds {', '.join(file.name for file in found)}: say which with --model-path")
    return found[0]


def sample(tensor, rows=1):
    """Rows of zeros (of b"") to warm a model up with; sizes that are open are 1."""
    return numpy.full([rows, *map(abs, tensor.shape[1:])], b"" if tensor.datatype == "BYTES" else 0, tensor.dtype)


def tensor_like(name, array):
    """The declaration of an output that looks like this array. Raises ValueError."""
    shape = [-1, *array.shape[1:]]
    kind = array.dtype.kind
    if kind in "US" or (kind == "O" and all(isinstance(item, (str, bytes)) for item in array.flat)):
        return Tensor("BYTES", shape)
    if kind == "f":
        return Tensor("FP32" if array.dtype.itemsize <= 4 else "FP64", shape)
    datatypes = {"b": "BOOL", "i": "INT64", "u": "UINT64"}
    if kind not in datatypes:
        raise ValueError(f"{name} is {array.dtype}, which no datatype of the protocol holds")
    return Tensor(datatypes[kind], shape)


def metadata_of(**values):
    """For serve(metadata=): text as it is, anything else as JSON, what is empty left out, all of it short."""
    texts = {name: value if isinstance(value, str) else json.dumps(value, default=str)
             for name, value in values.items() if value not in (None, "", {}, [])}
    return {name: text[:METADATA_CHARACTERS_MAX] for name, text in texts.items()}


def count(text):
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def named_tensor(text):
    """NAME:DATATYPE:SHAPE -> (name, Tensor). A name may have colons."""
    try:
        name, datatype, shape = text.rsplit(":", 2)
        return name, Tensor(datatype, [int(size) for size in shape.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:DATATYPE:SHAPE, as in pixels:FP32:-1,64: {error}") from error


def _stop_before_serving(number, frame):
    log.write("info", "stopped", reason="asked to, before it served")
    os._exit(0)
