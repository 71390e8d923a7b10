"""One JSON object a line on stderr, one line an event, in the gateway's own form."""
import datetime
import json
import logging
import os


def write(level, event, **fields):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"ts": now, "level": level, "event": event, **fields}, default=str) + "\n"
    try:
        os.write(2, line.encode())  # one write, so that lines of several threads never mix
    except OSError:
        pass  # nobody reads stderr: no reason to fail a prediction


def capture():
    """Makes lines of this form of whatever libraries say by `logging` and `warnings`, from warnings on."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()], force=True)
    logging.captureWarnings(True)


class _Lines(logging.Handler):
    def emit(self, record):
        level = "error" if record.levelno >= logging.ERROR else "warn"
        write(level, "library", library=record.name, message=record.getMessage().strip())
