"""What the ready-made containers share: options, each one an environment variable too, and the way to a model's file."""
import argparse
import os
import pathlib
import signal
import sys

from . import log
from .tensor import Tensor


class Options(argparse.ArgumentParser):
    """--max-rows comes from XEBEC_MAX_ROWS where the command line does not give it; so does every option."""

    def __init__(self, prog, description, model, **how):
        """model: what --model-path is, in words."""
        self.variables = {}  # environment variable -> option
        super().__init__(prog=prog, description=description, allow_abbrev=False, **how)
        self.epilog = (self.epilog or "") + " Each option may come from the environment instead: --max-rows as XEBEC_MAX_ROWS."
        self.add_argument("--model-path", "--model-file", required=True, metavar="PATH", help=model)
        self.add_argument("--name", required=True, help="the model's name in the gateway's configuration")
        self.add_argument("--version", required=True, help="and the version's")
        self.add_argument("--listen", default="0.0.0.0:9000", metavar="ADDRESS",
                          help="host:port or unix:/path (default: %(default)s)")
        self.add_argument("--max-rows", type=count, default=0, metavar="N", help="the largest batch to take (default: any)")

    def add_argument(self, *names, **how):
        action = super().add_argument(*names, **how)
        if action.dest != "help":
            self.variables[f"XEBEC_{action.dest.upper()}"] = names[0]
        return action

    def read(self):
        """The options of this process. From here until serve() a SIGTERM ends it at once: nothing is in flight yet."""
        signal.signal(signal.SIGTERM, _stop_before_serving)
        inherited = [f"{option}={os.environ[variable]}" for variable, option in self.variables.items()
                     if os.environ.get(variable)]
        return self.parse_args(inherited + sys.argv[1:])


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


def count(text):
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def named_tensor(text):
    """NAME:DATATYPE:SHAPE -> (name, Tensor)"""
    try:
        name, datatype, shape = text.split(":")
        return name, Tensor(datatype, [int(size) for size in shape.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:DATATYPE:SHAPE, as in pixels:FP32:-1,64: {error}") from error


def _stop_before_serving(number, frame):
    log.write("info", "stopped", reason="asked to, before it served")
    os._exit(0)
