"""containers/sklearn: estimators from files, asked over unix sockets as the gateway asks."""
import hashlib
import pickle
import re
import subprocess

import joblib
import numpy
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from xebec_testing import REPOSITORY
from xebec_testing.python_worker import PYTHON, SOURCES, Worker, bytes_array, declared

PIXELS, LABELS = load_digits(return_X_y=True)
PIXELS = PIXELS.astype("f4")
NAMES = numpy.array("zero one two three four five six seven eight nine".split())


def served(directory, fitted, *options, dump=joblib.dump):
    with open(directory / "model", "wb") as file:
        dump(fitted, file)
    return Worker(directory, "-m", "xebec_sklearn", "--model-file", "model", "--name", "m", "--version", "v",
                  "--listen", "unix:worker.sock", *options)


def test_predict(tmp_path):
    fitted = MultinomialNB().fit(PIXELS, LABELS)
    with served(tmp_path, fitted, "--input", "pixels:FP32:-1,64", "--max-rows", "512") as worker:
        described = worker.describe()
        assert declared(described.inputs) == [("pixels", "FP32", [-1, 64])]
        assert declared(described.outputs) == [("label", "INT64", [-1])]
        assert described.digest == hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest()
        assert described.max_rows == 512 and described.metadata["estimator"] == "MultinomialNB"
        outputs, errors = worker.predict(pixels=PIXELS[:100])
        assert errors == {} and outputs["label"].tolist() == fitted.predict(PIXELS[:100]).tolist()
        bad = PIXELS[:8].copy()
        bad[5, 3] = numpy.nan
        outputs, errors = worker.predict(pixels=bad)
        assert list(errors) == [5] and errors[5].startswith("ValueError: Input X contains NaN")


def test_predict_proba_of_a_forest_with_strings_for_classes(tmp_path):
    fitted = RandomForestClassifier(20, random_state=0, n_jobs=-1).fit(PIXELS, NAMES[LABELS])
    with served(tmp_path, fitted, "--method", "predict_proba", dump=pickle.dump) as worker:
        described = worker.describe()
        assert declared(described.inputs) == [("features", "FP32", [-1, 64])]  # from what it was fitted on
        assert declared(described.outputs) == [("probabilities", "FP32", [-1, 10]), ("label", "BYTES", [-1])]
        outputs, _ = worker.predict(features=PIXELS[:50])
        assert numpy.allclose(outputs["probabilities"], fitted.predict_proba(PIXELS[:50]), atol=1e-6)
        assert [label.decode() for label in outputs["label"]] == fitted.predict(PIXELS[:50]).tolist()


def test_a_regressor(tmp_path):
    fitted = LinearRegression().fit(PIXELS.astype("f8"), LABELS)
    with served(tmp_path, fitted, "--input", "features:FP64:-1,64") as worker:
        assert declared(worker.describe().outputs) == [("label", "FP64", [-1])]
        outputs, _ = worker.predict(features=PIXELS[:5].astype("f8"))
        assert numpy.allclose(outputs["label"], fitted.predict(PIXELS[:5].astype("f8")))


def test_a_pipeline_of_text(tmp_path):
    texts = ["ship sails sea", "ship at sea", "bread and butter", "butter the bread"]
    fitted = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, ["sea", "sea", "food", "food"])
    with served(tmp_path, fitted, "--input", "text:BYTES:-1") as worker:
        outputs, errors = worker.predict(text=bytes_array([b"sails", b"\xff", "bread, naïve".encode()]))
        assert outputs["label"][0] == b"sea" and outputs["label"][2] == b"food"
        assert list(errors) == [1] and errors[1].startswith("UnicodeDecodeError")


@pytest.mark.parametrize("fitted, options, words", [
    (LinearRegression().fit(PIXELS, LABELS), ["--method", "predict_proba"], "LinearRegression has no predict_proba()"),
    (make_pipeline(CountVectorizer(), MultinomialNB()).fit(["a1", "b1"], [0, 1]), [], "declare its input"),
    (MultinomialNB().fit(PIXELS, LABELS), ["--input", "pixels:FP32"], "as in pixels:FP32:-1,64"),
    (MultinomialNB().fit(PIXELS, LABELS), ["--input", "pixels:FP32:-1,63"], "expecting 64 features"),
])
def test_mistakes_end_the_start_in_words(tmp_path, fitted, options, words):
    with pytest.raises(AssertionError) as ended:
        with served(tmp_path, fitted, *options):
            pass
    assert words in str(ended.value)


def test_the_example_of_the_readme(tmp_path):
    example = re.search(r"```sh\n(.*?)```", (REPOSITORY / "containers/sklearn/README.md").read_text(), re.S).group(1)
    assert len(example.strip().splitlines()) < 20
    fit, _, serve = example.replace("python3", PYTHON).partition(f"END\n{PYTHON} -m xebec_sklearn")
    subprocess.run(["bash", "-ec", fit + "END"], cwd=tmp_path, check=True, timeout=60)
    with Worker(tmp_path, "-m", "xebec_sklearn", *serve.replace("\\", "").split()) as worker:
        outputs, _ = worker.predict(pixels=PIXELS)
        assert (outputs["label"] == LABELS).mean() > 0.9


def test_pip_installs_it(tmp_path):
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target",
                    tmp_path / "site", *(source.parent for source in SOURCES)], check=True, timeout=120)
    assert (tmp_path / "site/bin/xebec-sklearn").exists()
    helped = subprocess.run([PYTHON, "-m", "xebec_sklearn", "--help"], env={"PYTHONPATH": str(tmp_path / "site")},
                            capture_output=True, text=True, timeout=30)
    assert helped.returncode == 0 and "--model-file" in helped.stdout
