"""KServe's Python model server with custom models, as its documentation has it; what is declared is looked for by name."""
import kserve
from kserve.errors import InvalidInput
from kserve.utils.utils import generate_uuid
from shapes import MODELS


class Echo(kserve.Model):
    def __init__(self, name):
        super().__init__(name)
        self.tensors = [{"name": tensor, "datatype": datatype, "shape": shape} for tensor, datatype, shape in MODELS[name]]
        self.ready = True

    async def get_input_types(self):
        return self.tensors

    get_output_types = get_input_types

    async def predict(self, payload, headers=None, response_headers=None):
        given = {each.name: each for each in payload.inputs}
        outputs = []
        for declared in self.tensors:
            if declared["name"] not in given:
                raise InvalidInput(f"input {declared['name']} is missing")
            array = given[declared["name"]].as_numpy()
            output = kserve.InferOutput(declared["name"], list(array.shape), declared["datatype"])
            output.set_data_from_numpy(array, binary_data=payload.use_binary_outputs)
            outputs.append(output)
        return kserve.InferResponse(payload.id or generate_uuid(), self.name, outputs, use_binary_outputs=payload.use_binary_outputs,
                                    requested_outputs=payload.request_outputs)


if __name__ == "__main__":
    kserve.ModelServer().start([Echo(name) for name in MODELS])
