"""KServe's SDK as a client: its REST client of OIP v2, JSON and binary, and of v1."""
import json
import pathlib
import subprocess

import pytest
from xebec_testing.patience import PATIENCE
from xebec_testing.venv import client_python

CLIENT = pathlib.Path(__file__).with_name("clients") / "kserve_rest.py"


@pytest.mark.parametrize("datatype, rows", [("FP32", [[1.5, 2, 3], [4, 5, -6]]), ("INT64", [[2**62, -1]]), ("BOOL", [[True, False]]),
                                            ("BYTES", [["a", "Grüße"], ["", "x" * 300]])])
def test_kserves_own_client(puppet, gateway_for, datatype, rows):
    python = client_python("kserve")
    shape = [-1, len(rows[0])]
    puppet.play(inputs={"x": [datatype, shape]}, outputs={"y": [datatype, shape]})
    spec = {"datatype": datatype, "shape": shape}
    gateway = gateway_for(puppet, inputs={"x": spec}, outputs={"y": spec})
    done = subprocess.run([python, CLIENT, str(gateway.port), datatype, json.dumps(rows)], capture_output=True, text=True, timeout=PATIENCE * 8)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["live"], told["ready"], told["model ready"], told["no model ready"]) == (True, True, True, False)
    assert told["answers"] == [["e", "7", "y", datatype, rows]] * 2
    assert told["v1"] == {"predictions": rows}
    assert told["no model"][0] == 404 and told["no model"][1].startswith("nobody: no endpoint has this name")
    assert told["no input"][0] == 400 and told["no input"][1].startswith("input z: the model has no input of this name")
