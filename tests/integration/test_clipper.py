"""Clipper's REST dialect: what goes in, what comes out, and errors word for word."""
import base64
import json
import threading

import pytest
from xebec_testing.gateway import one_model

BYTES = {"datatype": "BYTES", "shape": [-1]}


def typed(puppet, gateway_for, datatype, shape, encoding="text"):
    """A gateway whose model takes and returns one tensor of this type."""
    puppet.play(inputs={"x": [datatype, shape, encoding.upper()]}, outputs={"y": [datatype, shape, encoding.upper()]})
    spec = {"datatype": datatype, "shape": shape}
    if datatype == "BYTES":
        spec["encoding"] = encoding
    return gateway_for(puppet, inputs={"x": spec}, outputs={"y": spec})


# --- one, and several ------------------------------------------------------------------------------------

def test_single(puppet, gateway_for):
    reply = gateway_for(puppet).predict(input=[1, 2.5])
    assert reply.status == 200
    answer = reply.json()
    assert isinstance(answer.pop("query_id"), int)
    assert answer == {"output": [1, 2.5], "default": False, "model": "m@v1"}


def test_batch(puppet, gateway_for):
    reply = gateway_for(puppet).predict(input_batch=[[1, 2], [3, 4], [5, 6]])
    assert reply.status == 200
    predictions = reply.json()["batch_predictions"]
    assert [each["output"] for each in predictions] == [[1, 2], [3, 4], [5, 6]]
    assert all(each["default"] is False and each["model"] == "m@v1" for each in predictions)


def test_batch_of_one_is_a_list(puppet, gateway_for):
    assert [each["output"] for each in gateway_for(puppet).predict(input_batch=[[9]]).json()["batch_predictions"]] == [[9]]


def test_query_ids_are_unique_across_shards(puppet, gateway_for):
    gateway = gateway_for(puppet, shards=2)
    ids = []

    def ask():
        with gateway.connect() as client:
            ids.extend(client.predict(input=[1]).json()["query_id"] for _ in range(20))
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == len(set(ids)) == 120


# --- datatypes -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("datatype, row", [
    ("FP32", [0, -1, 2.5, 16777216, 1e-3]), ("FP64", [0.1, 1e300, -5e-324]), ("FP16", [1.5, 2]), ("BF16", [1, -2]),
    ("INT8", [-128, 127]), ("UINT8", [0, 255]), ("INT16", [-32768, 32767]), ("UINT16", [65535]), ("INT32", [-2147483648]),
    ("UINT32", [4294967295]), ("INT64", [-9223372036854775808, 9223372036854775807]), ("UINT64", [18446744073709551615]),
    ("BOOL", [True, False]),
])
def test_numbers_return_as_they_came(puppet, gateway_for, datatype, row):
    reply = typed(puppet, gateway_for, datatype, [-1, len(row)]).predict(input=row)
    assert reply.status == 200, reply
    output = reply.json()["output"]
    assert output == row if datatype != "FP32" else output == pytest.approx(row, rel=1e-6)
    assert [type(each) is bool for each in output] == [datatype == "BOOL"] * len(row)


def test_nested_rows(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 2, 3])
    image = [[1, 2, 3], [4, 5, 6]]
    assert gateway.predict(input=image).json()["output"] == image
    assert gateway.predict(input=[1, 2, 3, 4, 5, 6]).json()["output"] == image
    assert puppet.calls()[0]["inputs"] == {"x": ["FP32", [1, 2, 3]]}


def test_scalar_rows(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "FP32", [-1])
    assert gateway.predict(input=7).json()["output"] == 7
    assert [each["output"] for each in gateway.predict(input_batch=[1, 2]).json()["batch_predictions"]] == [1, 2]


def test_strings(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "BYTES", [-1])
    words = 'Grüße, "世界" \U0001f600 \\ \n\t'
    assert gateway.predict(input=words).json()["output"] == words
    assert gateway.predict(input="").json()["output"] == ""
    assert puppet.rows_seen() == [words, ""]


def test_base64(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "BYTES", [-1], "base64")
    data = base64.b64encode(bytes(range(256))).decode()
    assert gateway.predict(input=data).json()["output"] == data
    assert gateway.predict(input="not base64!").status == 400


def test_output_is_any_json(puppet, gateway_for):
    puppet.play(mode="document", outputs={"y": ["BYTES", [-1], "JSON"]})
    gateway = gateway_for(puppet, outputs={"y": {**BYTES, "encoding": "json"}})
    assert gateway.predict(input=[4, 5]).json()["output"] == {"row": 4, "tags": ["a", None]}


def test_output_that_is_not_declared(puppet, start_gateway):
    """Without `output` in the configuration whatever the replica says goes."""
    config = one_model([puppet.play(mode="sums").unix])
    del config["models"]["m"]["output"]
    assert start_gateway(config).wait_ready().predict(input=[4, 5]).json()["output"] == 9


def test_several_inputs_and_outputs(puppet, gateway_for):
    puppet.play(inputs={"a": ["FP32", [-1, 2]], "b": ["BYTES", [-1]]}, outputs={"c": ["FP32", [-1, 2]], "d": ["BYTES", [-1]]})
    puppet.kill()
    pair = {"datatype": "FP32", "shape": [-1, 2]}
    gateway = gateway_for(puppet.start(), inputs={"a": pair, "b": BYTES}, outputs={"c": pair, "d": BYTES})
    reply = gateway.predict(input={"b": "word", "a": [1, 2]})
    assert reply.json()["output"] == {"c": [1, 2], "d": "word"}
    reply = gateway.predict(input_batch=[{"a": [1, 2], "b": "u"}, {"a": [3, 4], "b": "v"}])
    assert [each["output"] for each in reply.json()["batch_predictions"]] == [{"c": [1, 2], "d": "u"}, {"c": [3, 4], "d": "v"}]
    for wrong in ({"a": [1, 2]}, {"a": [1, 2], "b": "u", "c": 1}, [1, 2], {"a": [1, 2, 3], "b": "u"}):
        assert gateway.predict(input=wrong).status == 400, wrong


# --- versions --------------------------------------------------------------------------------------------

def test_version_by_name(new_puppet, start_gateway):
    first, second = new_puppet(), new_puppet(version="v2")
    config = one_model([first.unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [second.unix]}
    config["endpoints"]["e"] = {"slo": "30s", "split": [{"model": "m@v1", "weight": 1}, {"model": "m@v2", "weight": 0}]}
    gateway = start_gateway(config).wait_ready()
    assert gateway.predict(input=[1]).json()["model"] == "m@v1"
    assert gateway.predict(input=[1], version="v2").json()["model"] == "m@v2"
    assert gateway.predict(input=[1], version="m@v2").json()["model"] == "m@v2"
    reply = gateway.predict(input=[1], version="v3")
    assert (reply.status, reply.json()["error"]) == (400, "Requested version: v3 does not exist for model: m")


def test_weights(new_puppet, start_gateway):
    first, second = new_puppet(), new_puppet(version="v2")
    config = one_model([first.unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [second.unix]}
    config["endpoints"]["e"] = {"slo": "30s", "split": [{"model": "m@v1", "weight": 3}, {"model": "m@v2", "weight": 1}]}
    gateway = start_gateway(config).wait_ready()
    with gateway.connect() as client:
        models = [client.predict(input=[1]).json()["model"] for _ in range(400)]
    assert 240 < models.count("m@v1") < 360  # 300 expected, 9 the standard deviation


# --- inputs that are refused --------------------------------------------------------------------------------

REFUSED = {
    "nothing": b"", "not JSON": b"hello", "cut": b'{"input": [1', "a list": b"[1]", "two documents": b'{"input":[1]}{}',
    "no input": b"{}", "both": b'{"input":[1],"input_batch":[[1]]}', "twice": b'{"input":[1],"input":[2]}',
    "a word for a number": b'{"input":["a"]}', "null": b'{"input":null}', "null inside": b'{"input":[null]}',
    "a number too large": b'{"input":[1e999]}', "NaN": b'{"input":[NaN]}', "not UTF-8": b'{"input":[1],"\xff":1}',
    "ragged batch": b'{"input_batch":[[1,2],[3]]}', "batch of nothing": b'{"input_batch":[]}', "batch is no list": b'{"input_batch":5}',
    "version is a list": b'{"input":[1],"version":[5]}', "deep": b'{"input":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "row is an object": b'{"input":{"a":1}}', "bool for a number": b'{"input":[true]}',
}


@pytest.fixture
def ordinary(puppet, gateway_for):
    return gateway_for(puppet)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused_inputs(puppet, ordinary, body):
    with ordinary.connect() as client:
        reply = client.ask("POST", "/e/predict", body)
        assert reply.status == 400, reply
        problem = reply.json()
        assert set(problem) == {"error", "cause"} and problem["cause"] == "invalid_input" and problem["error"]
        assert client.predict(input=[1]).status == 200
    assert puppet.rows_seen() == [1]


def test_wrong_count_is_named(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 3])
    assert "expected 3 numbers, got 2" in gateway.predict(input=[1, 2]).json()["error"]
    assert "input_batch[1]" in gateway.predict(input_batch=[[1, 2, 3], [1, 2]]).json()["error"]


@pytest.mark.parametrize("datatype, value", [("INT8", 128), ("UINT8", -1), ("INT32", 1.5), ("UINT64", 18446744073709551616),
                                             ("INT64", "1"), ("BOOL", 2), ("FP32", 1e39)])
def test_out_of_range(puppet, gateway_for, datatype, value):
    gateway = typed(puppet, gateway_for, datatype, [-1, 1])
    reply = gateway.predict(input=[value])
    assert reply.status == 400, reply


def test_too_many_rows(puppet, gateway_for):
    gateway = gateway_for(puppet, limits={"rows": 10})
    assert gateway.predict(input_batch=[[1]] * 10).status == 200
    assert gateway.predict(input_batch=[[1]] * 11).status == 413


def test_outputs_that_json_lacks(puppet, gateway_for):
    """Models answer NaN and infinities; JSON has no such numbers, and the reply must still be JSON."""
    gateway = typed(puppet, gateway_for, "BF16", [-1, 1])
    reply = gateway.predict(input=[3.4e38])
    if reply.status == 200:
        json.loads(reply.body, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    else:
        assert reply.status == 400
