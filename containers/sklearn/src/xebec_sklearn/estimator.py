"""Estimator: predict() or predict_proba() of a fitted estimator as a worker's model, with its signature."""
import numpy
from xebec_worker import Tensor
from xebec_worker.container import tensor_like


class Estimator:
    def __init__(self, fitted, method="predict", inputs=None):
        """inputs: {name: Tensor}, exactly one; None: `features`, as many as the estimator was fitted on."""
        self.fitted = fitted
        self.inputs = inputs or {"features": Tensor("FP32", [-1, _features(fitted)])}
        if len(self.inputs) != 1:
            raise ValueError(f"an estimator takes one input, not {', '.join(self.inputs)}")
        (self.input,) = self.inputs.values()
        self.answer = {"predict": self._labels, "predict_proba": self._probabilities}[method]
        if not hasattr(fitted, method):
            raise ValueError(f"{type(fitted).__name__} has no {method}()")
        # The first call is slow; this one warms up, and its answer tells what the outputs are.
        self.outputs = {name: tensor_like(name, array) for name, array in self.answer(self._sample()).items()}

    def predict(self, **inputs):
        (x,) = inputs.values()
        return self.answer([item.decode() for item in x] if x.dtype == object else x)

    def _labels(self, x):
        return {"label": numpy.asarray(self.fitted.predict(x))}

    def _probabilities(self, x):
        probabilities = self.fitted.predict_proba(x)
        if not isinstance(probabilities, numpy.ndarray) or not hasattr(self.fitted, "classes_"):
            raise ValueError("predict_proba() of an estimator with several targets is not served")
        labels = self.fitted.classes_[numpy.argmax(probabilities, axis=1)]
        return {"probabilities": probabilities.astype("f4"), "label": labels}

    def _sample(self):
        if self.input.datatype == "BYTES":
            return [""]
        return numpy.zeros([abs(size) for size in self.input.shape], self.input.dtype)


def _features(fitted):
    try:
        return fitted.n_features_in_
    except AttributeError:
        raise ValueError(f"{type(fitted).__name__} does not tell how many features it takes: declare its input") from None

