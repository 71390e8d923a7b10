"""make_models FOLDER: the models that all servers serve, with rows to ask and the right answers to them.

    noop               no file: the answer is the row, 4 floats
    svm.joblib         scikit-learn's LinearSVC, 784 floats -> one of 10 labels
    forest.joblib      scikit-learn's RandomForestClassifier, 100 trees, 784 floats -> one of 10 labels
    cnn.onnx           two convolutions over 28 x 28, given as 784 floats -> one of 10 labels, with fixed random weights
    questions.json     {model: {"rows": [...], "answers": [...], "bare_us": median of a call with one row, in process}}

Everything is drawn from fixed seeds. Labels rather than scores, so that a right answer looks the same from everyone.
"""
import json
import statistics
import sys
import time
from pathlib import Path

import joblib
import numpy
import onnx
from bench_model import FLOATS, load, onnx_model
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC

QUESTIONS = 64
BARE_SECONDS = 2


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    x, y = samples(2000)
    joblib.dump(LinearSVC(dual=False, random_state=7).fit(x, y), folder / "svm.joblib")
    joblib.dump(RandomForestClassifier(100, random_state=7).fit(x, y), folder / "forest.joblib")
    make_cnn(folder, x)
    questions = {name: ask(folder, name, rows) for name, rows in
                 {"noop": echo_rows(), "svm": x[:QUESTIONS], "forest": x[:QUESTIONS], "cnn": x[:QUESTIONS]}.items()}
    (folder / "questions.json").write_text(json.dumps(questions))


def samples(n):
    """Rows with three decimals, as people write JSON, and labels that a linear model can nearly learn."""
    random = numpy.random.default_rng(7)
    x = random.random((n, FLOATS)).round(3).astype("f4")
    return x, ((x - 0.5) @ random.standard_normal((FLOATS, 10))).argmax(axis=1)


def echo_rows():
    """Halves and quarters, which everybody writes alike; and no two rows alike, so that a mix-up is seen."""
    return numpy.array([[n + 0.5, n + 0.25, 0.5, -0.75] for n in range(QUESTIONS)], "f4")


def ask(folder, name, rows):
    predict = load(folder, name)
    answers = predict(rows).tolist()
    if name != "noop" and len(set(answers)) < 5:
        raise SystemExit(f"{name}: its answers hardly differ: {sorted(set(answers))}")
    return {"rows": rows.astype("f8").round(3).tolist(), "answers": answers, "bare_us": median_us(predict, rows)}


def median_us(predict, rows):
    times, end = [], time.monotonic() + BARE_SECONDS
    while time.monotonic() < end:
        row = rows[len(times) % len(rows)][numpy.newaxis]
        start = time.perf_counter()
        predict(row)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1e6, 2)


def make_cnn(folder, x):
    """Random weights favour one label; a bias that makes all scores alike on average lets the picture decide."""
    file = folder / "cnn.onnx"
    onnx.save(cnn(numpy.zeros(10), "scores"), file)
    onnx.save(cnn(-onnx_model(file, "scores")(x).mean(axis=0).round(3), "label"), file)


def cnn(bias, answer):
    """answer: label, or scores."""
    random = numpy.random.default_rng(7)

    def weights(name, *shape):
        fan_in = numpy.prod(shape[1:])
        return numpy_helper.from_array((random.standard_normal(shape) / numpy.sqrt(fan_in)).astype("f4"), name)

    nodes = [
        helper.make_node("Sub", ["x", "middle"], ["centred"]),
        helper.make_node("Reshape", ["centred", "image"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "bias"], ["scores"], transB=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    constants = [numpy_helper.from_array(numpy.array(0.5, "f4"), "middle"),
                 numpy_helper.from_array(numpy.array([-1, 1, 28, 28]), "image"),
                 weights("w1", 8, 1, 3, 3), weights("w2", 16, 8, 3, 3), weights("w3", 10, 784),
                 numpy_helper.from_array(bias.astype("f4"), "bias")]
    outputs = {"label": helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
               "scores": helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 10])}
    graph = helper.make_graph(nodes, "cnn", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", FLOATS])],
                              [outputs[answer]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
