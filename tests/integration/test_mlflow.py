"""containers/mlflow: models that MLflow itself saved, asked through a real gateway."""
import shutil

import pytest
from xebec_testing.python_worker import Worker, declared, refused
from xebec_testing.venv import container_python, run

MODELS = """
import datetime, numpy, pandas, mlflow.sklearn
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import PythonModel, save_model
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

flowers, kinds = load_iris(return_X_y=True, as_frame=True)
flowers.columns = ["sepal length (cm)", "sepal width", "petal length", "petal width"]
names = numpy.array(["setosa", "versicolor", "virginica"])[kinds]
fitted = LogisticRegression(max_iter=500).fit(flowers, names)
mlflow.sklearn.save_model(fitted, "columns", signature=infer_signature(flowers, fitted.predict(flowers)),
                          metadata={"team": "flora", "reviews": 3})
array = flowers.to_numpy("f4")
fitted = LogisticRegression(max_iter=500).fit(array, kinds)
mlflow.sklearn.save_model(fitted, "tensor", signature=infer_signature(array, fitted.predict_proba(array)),
                          pyfunc_predict_fn="predict_proba")
mlflow.sklearn.save_model(fitted, "unsigned")
mlflow.sklearn.save_model(fitted, "no_outputs", signature=ModelSignature(inputs=Schema([TensorSpec(numpy.dtype("f4"), (-1, 4))])))

class Scaled(PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["amount"] < 0).any():
            raise ValueError("a negative amount")
        model_input["amount"] *= params["factor"]  # models may write into what they get
        return pandas.DataFrame({"scaled": model_input["amount"], "shown": model_input["label"] + params["unit"]})

save_model("scaled", python_model=Scaled(), signature=ModelSignature(
    inputs=Schema([ColSpec("double", "amount"), ColSpec("string", "label")]),
    outputs=Schema([ColSpec("double", "scaled"), ColSpec("string", "shown")]),
    params=ParamSchema([ParamSpec("factor", "double", 2.0), ParamSpec("unit", "string", " EUR")])))

class Same(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input

every = [ColSpec(kind, kind) for kind in "boolean integer long float double string binary datetime".split()]
save_model("every", python_model=Same(), signature=ModelSignature(inputs=Schema(every), outputs=Schema(every)))

class Liar(PythonModel):
    def predict(self, context, model_input, params=None):
        return [["a", "b"][int(x)] for x in model_input["x"]]

number = Schema([ColSpec("long", "x")])
save_model("liar", python_model=Liar(), signature=ModelSignature(inputs=number, outputs=Schema([ColSpec("long")])))
from mlflow.types.schema import Array
save_model("nested", python_model=Same(), signature=ModelSignature(inputs=Schema([ColSpec(Array("double"), "values")])))
save_model("one_row", python_model=Same(), signature=ModelSignature(inputs=Schema([TensorSpec(numpy.dtype("f4"), (1, 4))])))
"""
SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]
COLUMNS = ["sepal length (cm)", "sepal width", "petal length", "petal width"]


@pytest.fixture(scope="module")
def python():
    return container_python("mlflow")


@pytest.fixture(scope="module")
def models(python, tmp_path_factory):
    return run(python, MODELS, tmp_path_factory.mktemp("models"))


@pytest.fixture
def serve(python, models, tmp_path):
    def serve(model, *options, **environment):
        return Worker(tmp_path, "-m", "xebec_mlflow", "--model-path", models / model, "--name", "m", "--version", "v1",
                      "--listen", "unix:worker.sock", *options, python=python, **environment)
    return serve


def answers(reply):
    return reply.json()["batch_predictions"]


# --- signatures ----------------------------------------------------------------------------------

def test_columns(serve, gateway_before):
    with serve("columns") as worker:
        described = worker.describe()
        assert declared(described.inputs) == [(name, "FP64", [-1]) for name in COLUMNS]
        assert declared(described.outputs) == [("output", "BYTES", [-1])]
        rows = [dict(zip(COLUMNS, row)) for row in (SETOSA, VIRGINICA)]
        gateway = gateway_before(worker)
        assert [answer["output"] for answer in answers(gateway.predict(input_batch=rows))] == ["setosa", "virginica"]
        reply = gateway.predict(input={**rows[0], "petal width": "wide"})
        assert reply.status == 400 and "petal width" in reply.json()["error"]
        assert worker.terminate()[0] == 0


def test_a_tensor(serve, gateway_before):
    with serve("tensor") as worker:
        described = worker.describe()
        assert declared(described.inputs) == [("input", "FP32", [-1, 4])]
        assert declared(described.outputs) == [("output", "FP32", [-1, 3])]
        gateway = gateway_before(worker)
        output = gateway.predict(input=SETOSA).json()["output"]
        assert output[0] > 0.9 and abs(sum(output) - 1) < 1e-5
        replies = answers(gateway.predict(input_batch=[SETOSA, ["NaN", 1, 1, 1], VIRGINICA]))
        assert replies[1]["error"].startswith("ValueError: Input X contains NaN") and replies[2]["output"][2] > 0.9


def test_every_type_of_column(serve, gateway_before):
    row = {"boolean": True, "integer": -7, "long": 1 << 40, "float": 0.5, "double": 0.1, "string": "naïve", "binary": "AP8=",
           "datetime": "2024-02-29T12:30:00"}
    with serve("every") as worker:
        described = worker.describe()
        assert [datatype for _, datatype, _ in declared(described.inputs)] == [
            "BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES", "BYTES", "BYTES"]
        assert declared(described.inputs) == declared(described.outputs)
        reply = gateway_before(worker).predict(input_batch=[row, {**row, "datetime": "not a date"}])
        assert answers(reply)[0]["output"] == row
        assert "not a date" in answers(reply)[1]["error"]


def test_outputs_that_the_signature_lacks_are_found_out(serve, gateway_before):
    with serve("no_outputs") as worker:
        assert declared(worker.describe().outputs) == [("output", "INT64", [-1])]
        assert gateway_before(worker).predict(input=VIRGINICA).json()["output"] == 2


def test_a_model_without_a_signature_is_declared(serve, gateway_before):
    assert "no signature of its inputs" in refused(serve("unsigned"))
    with serve("unsigned", XEBEC_INPUT="flower:FP32:-1,4", XEBEC_OUTPUT="kind:INT64:-1") as worker:
        described = worker.describe()
        assert declared(described.inputs) == [("flower", "FP32", [-1, 4])]
        assert declared(described.outputs) == [("kind", "INT64", [-1])]
        assert gateway_before(worker).predict(input=VIRGINICA).json()["output"] == 2


# --- a model of one's own --------------------------------------------------------------------------

def test_parameters_have_defaults_and_a_bad_row_fails_alone(serve, gateway_before):
    rows = [{"amount": amount, "label": f"row {amount}"} for amount in (1, -1, 2.5)]
    with serve("scaled") as worker:
        replies = answers(gateway_before(worker).predict(input_batch=rows))
        assert replies[0]["output"] == {"scaled": 2, "shown": "row 1 EUR"}
        assert replies[1]["error"] == "ValueError: a negative amount"
        assert replies[2]["output"] == {"scaled": 5, "shown": "row 2.5 EUR"}


def test_parameters_are_set_for_a_version(serve, gateway_before):
    with serve("scaled") as worker:
        defaults = worker.describe()
    with serve("scaled", "--param", "factor=10", "--param", "unit= USD") as worker:
        described = worker.describe()
        assert described.digest != defaults.digest  # other answers
        assert described.metadata["param.factor"] == "10.0" and described.metadata["param.unit"] == " USD"
        output = gateway_before(worker).predict(input={"amount": 3, "label": "x"}).json()["output"]
        assert output == {"scaled": 30, "shown": "x USD"}


def test_a_model_that_breaks_its_signature(serve, gateway_before):
    with serve("liar") as worker:
        reply = gateway_before(worker).predict(input=1)
        assert reply.status == 502 and "declared INT64" in reply.json()["error"]


# --- what it says of itself ------------------------------------------------------------------------

def test_metadata_of_mlmodel(serve, models):
    with serve("columns") as worker:
        metadata = dict(worker.describe().metadata)
        digest = worker.describe().digest
    assert metadata.pop("framework").startswith("mlflow ") and metadata.pop("saved_by").startswith("mlflow ")
    assert len(metadata.pop("model_uuid")) == 32 and metadata.pop("utc_time_created")[:2] == "20"
    assert metadata == {"flavors": "python_function, sklearn", "metadata.team": "flora", "metadata.reviews": "3"}
    assert len(digest) == 64


def test_the_run_of_a_model_and_another_digest(serve, models, tmp_path):
    with serve("tensor") as worker:
        digest = worker.describe().digest
    shutil.copytree(models / "tensor", tmp_path / "logged")
    with open(tmp_path / "logged/MLmodel", "a") as file:
        file.write("run_id: 0123456789abcdef\n")
    with serve(tmp_path / "logged/MLmodel") as worker:  # the file does as well as its directory
        described = worker.describe()
    assert described.metadata["run_id"] == "0123456789abcdef" and described.digest != digest


# --- what can't be served ----------------------------------------------------------------------------

@pytest.mark.parametrize("model, options, words", [
    ("nested", [], "column values is Array(double)"),
    ("one_row", [], "its first dimension must be -1, the rows"),
    ("tensor", ["--input", "x:FP32:-1,4"], "MLmodel has a signature: --input is for models without one"),
    ("tensor", ["--param", "factor=1"], "has no parameter factor; its signature has none"),
    ("scaled", ["--param", "factor=much"], "--param factor=much: "),
    ("scaled", ["--param", "factor"], "argument --param"),
    (".", [], "holds no MLmodel: put the model there, or say where it is with --model-path"),
    ("absent", [], "no such file or directory"),
])
def test_mistakes_end_the_start_in_words(serve, model, options, words):
    assert words in refused(serve(model, *options))


@pytest.mark.parametrize("text, words", [
    ("flavors: [", "MLmodel is not YAML"),
    ("just words", "MLmodel names no flavors"),
    ("flavors:\n  sklearn: {}\n", "MLmodel has the flavors sklearn, and not python_function"),
    ("flavors:\n  python_function: {loader_module: mlflow.sklearn}\nsignature: {inputs: 7}\n", "MLmodel can't be made sense of"),
    ("flavors:\n  python_function: {loader_module: absent_framework}\n"
     "signature: {inputs: '[{\"type\": \"long\", \"name\": \"x\"}]'}\n", "the model needs absent_framework, which is not installed"),
])
def test_a_broken_mlmodel_ends_the_start_in_words(serve, tmp_path, text, words):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/MLmodel").write_text(text)
    assert words in refused(serve(tmp_path / "broken"))
