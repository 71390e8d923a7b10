"""The models that all servers serve: made once, by servers/make_models.py, in a virtual environment of its own."""
import hashlib
import json
import subprocess

from .peer import MADE, SERVERS, Model, Peer


class Maker(Peer):
    """Not a server, but installed as they are."""

    name = "models"


def install_models(say):
    """The list of Models."""
    maker = Maker()
    renewed = maker.install()
    sources = [SERVERS / "make_models.py", SERVERS / "bench_model.py"]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    stamp = MADE / "made"
    if renewed or not stamp.exists() or stamp.read_text() != wanted:
        say("making the models")
        subprocess.run([maker.bin("python"), SERVERS / "make_models.py", MADE], check=True, env={"OMP_NUM_THREADS": "1"})
        stamp.write_text(wanted)
    questions = json.loads((MADE / "questions.json").read_text())
    return [Model(name, **what) for name, what in questions.items()]
