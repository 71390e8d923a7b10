"""Waiting for what must come: conditions are asked for again and again, with a bound that only a hang reaches."""
import os
import time

# Seconds. Sanitizers make everything several times slower.
PATIENCE = float(os.environ.get("XEBEC_PATIENCE", "15"))


def wait_until(condition, what, seconds=PATIENCE):
    """The first true value of condition()."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what() if callable(what) else what}")
        time.sleep(0.01)
