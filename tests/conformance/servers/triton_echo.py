"""Triton: a model of its Python backend, as its documentation has it."""
import json

import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        self.names = [each["name"] for each in json.loads(args["model_config"])["input"]]

    def execute(self, requests):
        return [triton.InferenceResponse([triton.Tensor(name, triton.get_input_tensor_by_name(request, name).as_numpy())
                                          for name in self.names if name in request.requested_output_names()]) for request in requests]
