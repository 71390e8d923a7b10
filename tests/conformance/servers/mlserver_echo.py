"""MLServer: a custom runtime, with its codecs, as its documentation has it; what is declared is looked for by name."""
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse


class Echo(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        given = {each.name: each for each in payload.inputs}
        outputs = []
        for declared in self.inputs:
            if declared.name not in given:
                raise InferenceError(f"input {declared.name} is missing")
            tensor = given[declared.name]
            if declared.datatype == "BYTES":
                outputs.append(StringCodec.encode_output(declared.name, StringCodec.decode_input(tensor)))
                outputs[-1].shape = tensor.shape
            else:
                outputs.append(NumpyCodec.encode_output(declared.name, NumpyCodec.decode_input(tensor)))
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)
