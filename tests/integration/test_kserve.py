"""KServe's SDK as a client: its REST client of OIP v2, JSON and binary, and of v1; and its gRPC client, typed and raw."""
import json
import pathlib
import subprocess

import pytest
from xebec_testing.patience import PATIENCE
from xebec_testing.venv import client_python

CLIENTS = pathlib.Path(__file__).with_name("clients")
ROWS = [("FP32", [[1.5, 2, 3], [4, 5, -6]]), ("INT64", [[2**62, -1]]), ("BOOL", [[True, False]]), ("BYTES", [["a", "Grüße"], ["", "x" * 300]])]


@pytest.fixture
def told(puppet, gateway_for):
    """told(client, datatype, rows): what it told of a gateway whose model gives back what it gets."""
    def ask(client, datatype, rows):
        shape = [-1, len(rows[0])]
        puppet.play(inputs={"x": [datatype, shape]}, outputs={"y": [datatype, shape]})
        spec = {"datatype": datatype, "shape": shape}
        gateway = gateway_for(puppet, inputs={"x": spec}, outputs={"y": spec})
        done = subprocess.run([client_python("kserve"), CLIENTS / client, str(gateway.port), datatype, json.dumps(rows)], capture_output=True, text=True,
                              timeout=PATIENCE * 8)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return ask


@pytest.mark.parametrize("datatype, rows", ROWS)
def test_kserves_rest_client(told, datatype, rows):
    told = told("kserve_rest.py", datatype, rows)
    assert (told["live"], told["ready"], told["model ready"], told["no model ready"]) == (True, True, True, False)
    assert told["answers"] == [["e", "7", "y", datatype, rows]] * 2
    assert told["v1"] == {"predictions": rows}
    assert told["no model"][0] == 404 and told["no model"][1].startswith("nobody: no endpoint has this name")
    assert told["no input"][0] == 400 and told["no input"][1].startswith("input z: the model has no input of this name")


@pytest.mark.parametrize("datatype, rows", [*ROWS, ("FP16", [[0.5, 2]])])
def test_kserves_grpc_client(told, datatype, rows):
    told = told("kserve_grpc.py", datatype, rows)
    assert (told["live"], told["ready"], told["model ready"], told["no model ready"]) == (True, True, True, False)
    assert told["answers"] == [["e", "v1", "7", "y", datatype, rows]] * (1 if datatype == "FP16" else 2) and told["crowd"]
    assert told["no model"] == ["NOT_FOUND", "nobody: no endpoint has this name"]
    assert told["no input"] == ["INVALID_ARGUMENT", "input z: the model has no input of this name; it has: x"]
    assert told["no output"] == ["INVALID_ARGUMENT", "output z: the model has no output of this name; it has: y"]
    assert told["no time"][0] == "INVALID_ARGUMENT" and "soon" in told["no time"][1]
    assert told["sequence"][0] == "UNIMPLEMENTED"
