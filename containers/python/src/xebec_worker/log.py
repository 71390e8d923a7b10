"""One JSON object a line on stderr, one line an event, in the gateway's own form."""
import datetime
import json
import os


def write(level, event, **fields):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"ts": now, "level": level, "event": event, **fields}, default=str) + "\n"
    try:
        os.write(2, line.encode())  # one write, so that lines of several threads never mix
    except OSError:
        pass  # nobody reads stderr: no reason to fail a prediction
