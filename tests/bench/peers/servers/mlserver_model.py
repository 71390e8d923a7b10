"""MLServer's custom runtimes for what it has no runtime of its own: the no-op and ONNX."""
from bench_model import load_from_environment
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class BenchModel(MLModel):
    async def load(self):
        self.model = load_from_environment()
        return True

    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        outputs = [NumpyCodec.encode_output("predict", self.model(rows))]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
