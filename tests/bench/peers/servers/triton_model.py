"""The model as Triton's Python backend calls it: many requests at once, which the dynamic batcher brought together."""
import os
import sys

sys.path[:0] = os.environ["PYTHONPATH"].split(":")  # the backend's interpreter is an isolated one

import numpy
import triton_python_backend_utils as triton
from bench_model import load_from_environment


class TritonPythonModel:
    def initialize(self, args):
        self.model = load_from_environment()

    def execute(self, requests):
        parts = [triton.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        answers = numpy.split(self.model(numpy.concatenate(parts)), numpy.cumsum([len(part) for part in parts])[:-1])
        return [triton.InferenceResponse([triton.Tensor("y", answer)]) for answer in answers]
