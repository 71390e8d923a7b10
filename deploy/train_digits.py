#!/usr/bin/python3
"""Trains three classifiers on scikit-learn's handwritten digits: train_digits.py DIRECTORY

Writes linear.joblib, forest.joblib, next.joblib and held-out.npz (pixels and labels that no model has seen).
Does nothing where they are there and neither this script nor scikit-learn has changed since.
"""
import hashlib
import json
import pathlib
import sys

import joblib
import numpy
import sklearn
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

SEED = 17
MODELS = {"linear": LogisticRegression(max_iter=5000, random_state=SEED),
          "forest": RandomForestClassifier(n_estimators=100, random_state=SEED),
          "next": LogisticRegression(C=0.5, max_iter=5000, random_state=SEED)}  # what linear could become


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    stamp = directory / "trained.json"
    made_by = {"script": hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest(), "scikit-learn": sklearn.__version__}
    files = [directory / f"{name}.joblib" for name in MODELS] + [directory / "held-out.npz"]
    if all(file.exists() for file in files) and stamp.exists() and json.loads(stamp.read_text()) == made_by:
        print(f"{directory}: up to date")
        return
    stamp.unlink(missing_ok=True)
    train(directory)
    stamp.write_text(json.dumps(made_by))  # last: without it, what an interrupted run left is made again


def train(directory):
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels.astype(numpy.float32)
    train_pixels, held_out_pixels, train_labels, held_out_labels = train_test_split(
        pixels, labels, test_size=0.25, random_state=SEED, stratify=labels)
    for name, model in MODELS.items():
        model.fit(train_pixels, train_labels)
        joblib.dump(model, directory / f"{name}.joblib")
        print(f"{name}: {model.score(held_out_pixels, held_out_labels):.3f} of {len(held_out_labels)} held-out digits right")
    numpy.savez(directory / "held-out.npz", pixels=held_out_pixels, labels=held_out_labels)


if __name__ == "__main__":
    main()
