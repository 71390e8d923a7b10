"""containers/onnx: real models of the real libraries, asked through a real gateway."""
import hashlib

import numpy
import pytest
from xebec_testing.python_worker import Worker, declared, refused
from xebec_testing.venv import container_python, run

MODELS = """
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper
from onnx.tools.update_model_dims import update_inputs_outputs_dims
import numpy

def save(name, nodes, inputs, outputs, constants=(), **about):
    graph = h.make_graph(nodes, name + "-graph", [h.make_tensor_value_info(*each) for each in inputs],
                         [h.make_tensor_value_info(*each) for each in outputs],
                         [numpy_helper.from_array(array, key) for key, array in constants])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9, producer_name="tests", **about)
    h.set_model_props(model, {"team": "vision", "labels": "cat,dog"})
    onnx.save(model, name + ".onnx")
    return model

weights = numpy.arange(8, dtype="f4").reshape(4, 2)
save("linear", [h.make_node("MatMul", ["x", "w"], ["scores"]), h.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)],
     [("x", T.FLOAT, ["n", 4])], [("scores", T.FLOAT, ["n", 2]), ("label", T.INT64, ["n"])], [("w", weights)],
     model_version=3, doc_string="two scores")
fixed = save("fixed", [h.make_node("Relu", ["x"], ["y"])], [("x", T.FLOAT, [1, 4])], [("y", T.FLOAT, [1, 4])])
onnx.save(update_inputs_outputs_dims(fixed, {"x": ["rows", 4]}, {"y": ["rows", 4]}), "freed.onnx")
save("half", [h.make_node("Add", ["x", "x"], ["y"])], [("x", T.FLOAT16, ["n", "m"])], [("y", T.FLOAT16, ["n", "m"])])
save("words", [h.make_node("Identity", ["text"], ["same"])], [("text", T.STRING, ["n"])], [("same", T.STRING, ["n"])])
save("table", [h.make_node("Gather", ["w", "at"], ["y"])], [("at", T.INT64, ["n"])], [("y", T.FLOAT, ["n", 2])], [("w", weights)])
# Reshaped to sizes that only the data tells, so that no inference knows how many dimensions there are.
save("untold", [h.make_node("Shape", ["x"], ["sizes"]), h.make_node("NonZero", ["sizes"], ["which"]),
                h.make_node("Squeeze", ["which", "first"], ["at"]), h.make_node("Gather", ["sizes", "at"], ["open"]),
                h.make_node("Reshape", ["x", "open"], ["y"])],
     [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, None)], [("first", numpy.array([0]))])
save("total", [h.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, None)])
save("mean", [h.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["m", 4])])
save("twice", [h.make_node("Concat", ["x", "x"], ["y"], axis=0)], [("x", T.FLOAT, ["n"])], [("y", T.FLOAT, ["m"])])
save("brain", [h.make_node("Identity", ["x"], ["y"])], [("x", T.BFLOAT16, ["n"])], [("y", T.BFLOAT16, ["n"])])
save("list", [h.make_node("SequenceConstruct", ["x"], ["s"]), h.make_node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n"])],
     [("y", T.FLOAT, ["n"])])
onnx_list = onnx.load("list.onnx")
onnx_list.graph.output.append(h.make_tensor_sequence_value_info("s", T.FLOAT, ["n"]))
onnx.save(onnx_list, "list.onnx")
open("junk.onnx", "wb").write(b"not a model")
"""
WEIGHTS = numpy.arange(8, dtype="f4").reshape(4, 2)


@pytest.fixture(scope="module")
def python():
    return container_python("onnx", "onnx==1.22.0", "ml_dtypes==0.6.0")


@pytest.fixture(scope="module")
def models(python, tmp_path_factory):
    return run(python, MODELS, tmp_path_factory.mktemp("models"))


@pytest.fixture
def serve(python, models, tmp_path):
    def serve(model, *options, **environment):
        return Worker(tmp_path, "-m", "xebec_onnx", "--model-path", models / model, "--name", "m", "--version", "v1",
                      "--listen", "unix:worker.sock", *options, python=python, **environment)
    return serve


def test_a_model_describes_itself(serve, models):
    with serve("linear.onnx", "--max-rows", "64") as worker:
        described = worker.describe()
    assert declared(described.inputs) == [("x", "FP32", [-1, 4])]
    assert declared(described.outputs) == [("scores", "FP32", [-1, 2]), ("label", "INT64", [-1])]
    assert described.max_rows == 64
    assert described.digest == hashlib.sha256((models / "linear.onnx").read_bytes()).hexdigest()
    metadata = dict(described.metadata)
    assert metadata.pop("framework").startswith("onnxruntime 1.")
    assert metadata == {"producer": "tests", "graph": "linear-graph", "model_version": "3", "description": "two scores",
                        "custom.team": "vision", "custom.labels": "cat,dog"}


def test_a_model_answers_the_gateway(serve, gateway_before):
    rows = numpy.array([[1, 2, 3, 4], [-1, 0, 0, 0.5], [0, 0, 0, 0]], "f4")
    with serve("linear.onnx") as worker:
        replies = gateway_before(worker).predict(input_batch=rows.tolist()).json()["batch_predictions"]
        assert [reply["output"]["scores"] for reply in replies] == (rows @ WEIGHTS).tolist()
        assert [reply["output"]["label"] for reply in replies] == [1, 0, 0]
        assert worker.terminate()[0] == 0


def test_only_some_outputs_from_the_environment(serve, gateway_before):
    with serve("linear.onnx", XEBEC_OUTPUT="label", XEBEC_JOBS="2", XEBEC_CALLS="2") as worker:
        assert declared(worker.describe().outputs) == [("label", "INT64", [-1])]
        assert gateway_before(worker).predict(input=[1, 2, 3, 4]).json()["output"] == 1


def test_halves_of_any_width(serve, gateway_before):
    with serve("half.onnx") as worker:
        assert declared(worker.describe().inputs) == [("x", "FP16", [-1, -1])]
        gateway = gateway_before(worker)
        assert gateway.predict(input=[0.5, 1.25]).json()["output"] == [1, 2.5]
        assert gateway.predict(input=[1, 2, 3]).json()["output"] == [2, 4, 6]


def test_strings_and_one_that_is_not_text(serve, gateway_before):
    with serve("words.onnx") as worker:
        assert declared(worker.describe().inputs) == [("text", "BYTES", [-1])]
        reply = gateway_before(worker).predict(input_batch=["naïve", {"b64": "/w=="}, "sea"])
        assert reply.status == 207
        answers = reply.json()["batch_predictions"]
        assert [answer.get("output") for answer in answers] == ["naïve", None, "sea"]
        assert answers[1]["error"].startswith("UnicodeDecodeError") and answers[1]["cause"] == "model_error"


def test_a_row_that_the_runtime_refuses_fails_alone(serve, gateway_before):
    with serve("table.onnx") as worker:
        answers = gateway_before(worker).predict(input_batch=[0, 3, 99, 1]).json()["batch_predictions"]
        assert [answer.get("output") for answer in answers] == [[0, 1], [6, 7], None, [2, 3]]
        assert "INVALID_ARGUMENT" in answers[2]["error"]


def test_what_the_gateway_sends_must_fit(serve, gateway_before):
    with serve("linear.onnx") as worker:
        reply = gateway_before(worker).predict(input=[1, 2, 3])
        assert reply.status == 400 and "expected 4 numbers, got 3" in reply.json()["error"]


def test_a_shape_that_the_model_does_not_tell_is_found_out(serve):
    with serve("untold.onnx") as worker:
        assert declared(worker.describe().outputs) == [("y", "FP32", [-1, -1])]


def test_a_fixed_batch_is_freed_as_the_refusal_says(serve, gateway_before):
    refusal = refused(serve("fixed.onnx"))
    assert "input x always has 1 row: " in refusal and "dynamic_axes={'x': {0: 'rows'}}" in refusal
    assert "update_inputs_outputs_dims()" in refusal
    with serve("freed.onnx") as worker:  # what that function makes of it
        replies = gateway_before(worker).predict(input_batch=[[-1, 0, 1, 2]] * 3).json()["batch_predictions"]
        assert [reply["output"] for reply in replies] == [[0, 0, 1, 2]] * 3


@pytest.mark.parametrize("model, options, words", [
    ("total.onnx", [], "output y is a scalar"),
    ("twice.onnx", [], "output y has 4 rows for 2 rows of input"),
    ("mean.onnx", [], "output y always has 1 row"),
    ("brain.onnx", [], "input x is tensor(bfloat16), which ONNX Runtime does not exchange with Python"),
    ("list.onnx", [], "output s is seq(tensor(float)), which is no tensor: leave it out with --output"),
    ("linear.onnx", ["--output", "nope"], "has no output nope; it has scores, label"),
    ("linear.onnx", ["--calls", "0"], "argument --calls: invalid positive value: '0'"),
    ("junk.onnx", [], "INVALID_PROTOBUF"),
    ("absent.onnx", [], "no such file or directory"),
    (".", [], "say which with --model-path"),
])
def test_mistakes_end_the_start_in_words(serve, model, options, words):
    assert words in refused(serve(model, *options))
