"""gRPC: the clauses, and the client below them. grpcio and grpcio-tools are asked for only where there is a gRPC address."""

from . import tensors
from .clauses import GRPC, MUST, PRACTICE, SHOULD, Failed, clause, expect, fail, not_applicable
from .target import NO_VERSION, NOBODY, expect_alike, outputs_of, same_data, specs
from .tensors import Spec, Tensor
from .wire import shown

FIELDS = {"BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
          "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
          "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}
FAULTS_OF_THE_CLIENT = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED")


class Refusal(Failed):
    """The server answered with a status that is not OK."""

    def __init__(self, code, details):
        super().__init__(f"{code}: {details}")
        self.code, self.details = code, details


class Rpc:
    """One channel to a server; calls by name, messages as dicts of their fields."""

    def __init__(self, address, timeout):
        import grpc
        self.pb = grpc.protos("oip.proto")
        self.address, self.timeout, self.transcript = address, timeout, []
        limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
        self.channel = grpc.insecure_channel(address, options=limits)
        self._error = grpc.RpcError

    def call(self, method, metadata=(), **fields):
        return self.send(method, getattr(self.pb, f"{method}Request")(**fields), metadata)

    def send(self, method, request, metadata=()):
        """The response. Refusal, also where nobody answers."""
        ask = self.channel.unary_unary(f"/inference.GRPCInferenceService/{method}", lambda message: message.SerializeToString(),
                                       getattr(self.pb, f"{method}Response").FromString)
        self.transcript.append({"sent": shown(f"{method}\n{request}"), "received": ""})
        try:
            response = ask(request, timeout=self.timeout, metadata=metadata)
        except self._error as why:
            self.transcript[-1]["received"] = shown(f"{why.code().name}: {why.details()}")
            raise Refusal(why.code().name, why.details()) from None
        self.transcript[-1]["received"] = shown(f"OK\n{response}")
        return response

    def input_specs(self, model):
        try:
            told = self.call("ModelMetadata", name=model).inputs
            return specs([{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in told])
        except Failed:
            return []

    # --- messages -----------------------------------------------------------------------------------------

    def request(self, model, made, raw, **more):
        request = self.pb.ModelInferRequest(model_name=model, **more)
        for each in made:
            added = request.inputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
            if raw:
                request.raw_input_contents.append(each.binary())
            else:
                getattr(added.contents, FIELDS[each.datatype]).extend(
                    [value.encode() if isinstance(value, str) else value for value in each.data])
        return request

    def outputs(self, response):
        """Tensors; Failed where contents are not as they have to be."""
        raw = list(response.raw_output_contents)
        expect(not raw or len(raw) == len(response.outputs), f"{len(response.outputs)} outputs and {len(raw)} raw contents")
        found = []
        for i, each in enumerate(response.outputs):
            try:
                data = tensors.unpack(each.datatype, raw[i]) if raw else list(getattr(each.contents, FIELDS[each.datatype]))
            except (KeyError, ValueError) as why:
                raise Failed(f"output {each.name}: {why}") from None
            found.append(Tensor(each.name, each.datatype, list(each.shape), data))
        return found


# --- what clauses start from -------------------------------------------------------------------------------

def rpc(t):
    return t.rpc or not_applicable("no --grpc was given")


def connected(t):
    """Where nobody answers, grpc.live says so once."""
    try:
        rpc(t).call("ServerLive")
    except Refusal as why:
        if why.code == "UNAVAILABLE":
            not_applicable("nobody answers: see grpc.live")
    return t.rpc


def base(t):
    """The outputs of the plainest request, raw."""
    if not hasattr(t, "rpc_base"):
        try:
            t.rpc_base = connected(t).send("ModelInfer", t.rpc.request(t.model, t.tensors(), raw=True))
            t.rpc_alike = t.rpc.outputs(t.rpc_base) == t.rpc.outputs(t.rpc.send("ModelInfer", t.rpc.request(t.model, t.tensors(), raw=True)))
        except Failed as why:
            t.rpc_base = why
    return not_applicable("no plain request is answered: see grpc.infer") if isinstance(t.rpc_base, Failed) else t.rpc.outputs(t.rpc_base)


def typed(t):
    """Whether the model can be asked with typed contents at all."""
    if t.has_halves:
        not_applicable("16-bit floats are raw or nothing")
    return connected(t)


def expect_base(t, response):
    expect_alike(t.rpc.outputs(response), base(t), t.rpc_alike)


def infer(t, made=None, raw=True, **more):
    return t.rpc.send("ModelInfer", t.rpc.request(t.model, t.tensors() if made is None else made, raw, **more))


# --- health and metadata -------------------------------------------------------------------------------------

@clause("grpc.live", MUST, f"{GRPC}, Server Live", "ServerLive: live is true")
def _(t):
    expect(rpc(t).call("ServerLive").live, "live is false")


@clause("grpc.ready", MUST, f"{GRPC}, Server Ready", "ServerReady: ready is true while the server is ready")
def _(t):
    expect(connected(t).call("ServerReady").ready, "ready is false")


@clause("grpc.model-ready", MUST, f"{GRPC}, Model Ready", "ModelReady: ready is true while the model is, of each version that is offered, too")
def _(t):
    connected(t)
    for version in ("", *grpc_versions(t)):
        expect(t.rpc.call("ModelReady", name=t.model, version=version).ready, f"version {version!r}: ready is false")


@clause("grpc.model-ready.unknown", MUST, f"{GRPC}, Model Ready", "a model that is not there is not ready: false, or an error")
def _(t):
    try:
        ready = connected(t).call("ModelReady", name=NOBODY).ready
    except Refusal:
        return
    expect(not ready, "it is ready")


@clause("grpc.server", MUST, f"{GRPC}, Server Metadata", "ServerMetadata: a name and a version")
def _(t):
    told = connected(t).call("ServerMetadata")
    expect(told.name and told.version, f"name {told.name!r}, version {told.version!r}")


def metadata(t, **more):
    return connected(t).call("ModelMetadata", name=t.model, **more)


def grpc_versions(t):
    try:
        return list(metadata(t).versions)
    except Refusal:
        return []


@clause("grpc.metadata", MUST, f"{GRPC}, Model Metadata", "ModelMetadata: the name that was asked for, tensors with names, datatypes of the table, sizes of -1 or more")
def _(t):
    told = metadata(t)
    expect(told.name == t.model, f"name is {told.name!r}")
    for each in (*told.inputs, *told.outputs):
        expect(each.name and each.datatype in tensors.DATATYPES and min(each.shape, default=0) >= -1, f"a tensor is {each}")


@clause("grpc.metadata.inputs", SHOULD, f"{GRPC}, Model Metadata", "there are inputs and outputs")
def _(t):
    told = metadata(t)
    expect(told.inputs and told.outputs, f"{len(told.inputs)} inputs, {len(told.outputs)} outputs")


@clause("grpc.metadata.same", SHOULD, f"{GRPC}: closely follows the concepts of REST", "metadata is the same over REST: versions, inputs, outputs")
def _(t):
    told = metadata(t)
    rest = {key: specs(t.told.get(key)) for key in ("inputs", "outputs")} if t.url else {}
    if not all(rest.values()) or not rest or not (told.inputs and told.outputs):
        not_applicable("there is no metadata of one of the two")
    versions = t.told.get("versions")
    expect(not isinstance(versions, list) or list(told.versions) == versions, f"versions: {list(told.versions)}, over REST {versions}")
    for key, theirs in rest.items():
        mine = [Spec(each.name, each.datatype, tuple(each.shape)) for each in getattr(told, key)]
        expect(mine == theirs, f"{key}: {mine}, over REST {theirs}")


@clause("grpc.metadata.unknown", MUST, f"{GRPC}, Model Metadata", "metadata of a model that is not there is an error")
def _(t):
    refused(t, connected(t), "ModelMetadata", t.rpc.pb.ModelMetadataRequest(name=NOBODY))


# --- inference -------------------------------------------------------------------------------------------------

@clause("grpc.infer", MUST, f"{GRPC}, Inference", "a valid request with raw contents is answered")
def _(t):
    connected(t)
    t.inputs
    infer(t)


@clause("grpc.infer.model_name", MUST, f"{GRPC}, Inference", "model_name is the model that was used")
def _(t):
    base(t)
    expect(t.rpc_base.model_name == t.model, f"model_name is {t.rpc_base.model_name!r}")


@clause("grpc.infer.contents", MUST, f"{GRPC}, Inference", "outputs are raw, or typed; never both")
def _(t):
    base(t)
    raw = bool(t.rpc_base.raw_output_contents)
    for each in t.rpc_base.outputs:
        expect(not (raw and each.contents.ListFields()), f"output {each.name} has both")
        expect(raw or each.contents.ListFields() or tensors.count(each.shape) == 0, f"output {each.name} has neither")


@clause("grpc.infer.size", MUST, f"{GRPC}, Tensor Data", "the size of an output is what its shape and datatype take")
def _(t):
    for each in base(t):
        expect(min(each.shape, default=0) >= 0 and tensors.count(each.shape) == len(each.data), f"output {each.name}: shape {each.shape}, {len(each.data)} elements")


@clause("grpc.infer.same", SHOULD, f"{GRPC}: closely follows the concepts of REST", "the answer is the same over REST")
def _(t):
    mine = base(t)
    if not t.url:
        not_applicable("no --url was given")
    theirs = outputs_of(t.base)
    if any(tensors.count(each.shape) != len(each.data) for each in (*mine, *theirs)):
        not_applicable("sizes are wrong: see grpc.infer.size, infer.response.shape")
    expect([each.name for each in mine] == [each.name for each in theirs], f"outputs {[each.name for each in mine]}, over REST {[each.name for each in theirs]}")
    if t.rpc_alike and t.is_deterministic:
        for a, b in zip(mine, theirs):
            expect((a.datatype, a.shape) == (b.datatype, b.shape) and same_data(a.datatype, a.data, b.data), f"output {a.name} is another one over REST")


@clause("grpc.infer.typed", MUST, f"{GRPC}, Tensor Data", "contents in the field of their type mean the same as raw ones")
def _(t):
    base(t)
    expect_base(t, infer(typed(t) and t, raw=False))


@clause("grpc.infer.mirrored", SHOULD, PRACTICE, "raw contents are answered with raw ones (Triton's client reads nothing else)")
def _(t):
    base(t)
    expect(len(t.rpc_base.raw_output_contents) == len(t.rpc_base.outputs), "raw in, typed out")


@clause("grpc.infer.id", MUST, f"{GRPC}, Inference", "the id of the request is that of the response")
def _(t):
    expect_id(t, "42")


@clause("grpc.infer.id.any", MUST, f"{GRPC}, Inference", "... be it any string")
def _(t):
    expect_id(t, "Grüße 42")


def expect_id(t, name):
    base(t)
    came = infer(t, id=name).id
    expect(came == name, f"the id sent is {name!r}, the one that came back {came!r}")


@clause("grpc.infer.parameters", SHOULD, f"{GRPC}, Parameters", "booleans, integers and strings of any name may be given")
def _(t):
    base(t)
    Parameter = t.rpc.pb.InferParameter
    infer(t, parameters={"conformance_a": Parameter(bool_param=True), "conformance_b": Parameter(int64_param=7), "conformance_c": Parameter(string_param="x")})


@clause("grpc.infer.outputs", MUST, f"{GRPC}, Inference", "an output that is asked for by name comes")
def _(t):
    for name in [each.name for each in base(t)]:
        came = [each.name for each in infer(t, outputs=[{"name": name}]).outputs]
        expect(name in came, f"asked for {name}, got {', '.join(sorted(came))}")


@clause("grpc.infer.outputs.only", SHOULD, f"{GRPC}, Inference", "... and no other")
def _(t):
    names = [each.name for each in base(t)]
    if len(names) < 2:
        not_applicable("the model has one output")
    came = {each.name for each in infer(t, outputs=[{"name": names[-1]}]).outputs}
    expect(came <= {names[-1]}, f"asked for {names[-1]}, got {', '.join(sorted(came))}")


@clause("grpc.infer.version", MUST, f"{GRPC}, Inference", "a version that is offered answers, and says so in model_version")
def _(t):
    base(t)
    for version in grpc_versions(t) or not_applicable("metadata offers no versions"):
        came = infer(t, model_version=version).model_version
        expect(came == version, f"version {version} was asked, model_version is {came!r}")


@clause("grpc.infer.datatypes", MUST, f"{GRPC}, Tensor Data Types", "every datatype passes unharmed, raw, through a model that gives back what it gets")
def _(t):
    echoes = echoes_of(t)
    made = t.tensors(values=tensors.extreme)
    sent = {each.name: each for each in made}
    for each in t.rpc.outputs(infer(t, made)):
        if each.name in echoes:
            wanted = sent[echoes[each.name]]
            expect(same_data(each.datatype, each.data, wanted.data), f"output {each.name}, {each.datatype}: {wanted.data} was sent, {each.data} came back")


@clause("grpc.infer.datatypes.typed", MUST, f"{GRPC}, Tensor Data Types", "... and typed")
def _(t):
    echoes = echoes_of(typed(t) and t)
    made = t.tensors(values=tensors.extreme)
    sent = {each.name: each for each in made}
    for each in t.rpc.outputs(infer(t, made, raw=False)):
        if each.name in echoes:
            wanted = sent[echoes[each.name]]
            expect(same_data(each.datatype, each.data, wanted.data), f"output {each.name}, {each.datatype}: {wanted.data} was sent, {each.data} came back")


def echoes_of(t):
    came = {each.name: each for each in base(t)}
    given = {each.name: each for each in t.tensors()}
    pairs = {out: name for out in came for name in given if came[out].datatype == given[name].datatype
             and came[out].shape == given[name].shape and same_data(given[name].datatype, came[out].data, given[name].data)}
    return pairs or not_applicable("no output is an echo of an input")


# --- refusals ----------------------------------------------------------------------------------------------------

def refused(t, client, method, request):
    try:
        client.send(method, request)
    except Refusal as why:
        t.rpc_refusals.append(why)
        if why.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
            fail(f"no answer: {why}")
        return
    fail("expected an error, got OK")


def refuses(name, level, says):
    """Decorates a function that makes a ModelInferRequest which nobody can answer."""
    def register(make):
        def check(t):
            base(t)
            refused(t, t.rpc, "ModelInfer", make(t))
        clause(f"grpc.refuse.{name}", level, f"{GRPC}, Inference", f"refused: {says}")(check)
        return make
    return register


def changed(t, raw=True, **changes):
    """A valid request but for its first input."""
    request = t.rpc.request(t.model, t.tensors(), raw)
    for name, value in changes.items():
        if name == "shape":
            request.inputs[0].ClearField("shape")
            request.inputs[0].shape.extend(value)
        else:
            setattr(request.inputs[0], name, value)
    return request


@refuses("model", MUST, "a model that is not there")
def _(t):
    return t.rpc.request(NOBODY, t.tensors(), raw=True)


@refuses("version", MUST, "a version that is not there")
def _(t):
    return t.rpc.request(t.model, t.tensors(), raw=True, model_version=NO_VERSION)


@refuses("no-inputs", MUST, "no inputs")
def _(t):
    return t.rpc.request(t.model, [], raw=True)


@refuses("input-missing", MUST, "one of the inputs that the model requires is not there")
def _(t):
    return t.rpc.request(t.model, t.tensors()[:-1], raw=True) if len(t.inputs) > 1 else not_applicable("the model has one input")


@refuses("input-unknown", MUST, "an input under another name")
def _(t):
    return changed(t, name="conformance-no-such-input")


@refuses("datatype", MUST, "a datatype that is none")
def _(t):
    return changed(t, datatype="FP31")


@refuses("shape", MUST, "raw contents of another size than the shape takes")
def _(t):
    shape = list(t.tensors()[0].shape)
    return changed(t, shape=[shape[0] + 1, *shape[1:]])


@refuses("shape.typed", MUST, "typed contents of another number than the shape takes")
def _(t):
    typed(t)
    shape = list(t.tensors()[0].shape)
    return changed(t, raw=False, shape=[shape[0] + 1, *shape[1:]])


@refuses("shape.negative", MUST, "a size that is negative")
def _(t):
    return changed(t, shape=[-size for size in t.tensors()[0].shape])


@refuses("raw.fewer", MUST, "fewer raw contents than inputs")
def _(t):
    request = t.rpc.request(t.model, t.tensors(), raw=True)
    del request.raw_input_contents[-1]
    return request


@refuses("raw.more", SHOULD, "more raw contents than inputs")
def _(t):
    request = t.rpc.request(t.model, t.tensors(), raw=True)
    request.raw_input_contents.append(b"more")
    return request


@refuses("both", MUST, "raw contents and typed ones in one request")
def _(t):
    typed(t)
    request = t.rpc.request(t.model, t.tensors(), raw=False)
    request.raw_input_contents.extend(each.binary() for each in t.tensors())
    return request


@refuses("field", MUST, "contents in the field of another type")
def _(t):
    typed(t)
    request = t.rpc.request(t.model, t.tensors(), raw=False)
    contents = request.inputs[0].contents
    contents.Clear()
    other = "bytes_contents" if t.inputs[0].datatype != "BYTES" else "bool_contents"
    getattr(contents, other).extend([b"x" if other == "bytes_contents" else True] * len(t.tensors()[0].data))
    return request


@refuses("output", SHOULD, "an output that the model does not have")
def _(t):
    return t.rpc.request(t.model, t.tensors(), raw=True, outputs=[{"name": "conformance-no-such-output"}])


@clause("grpc.error.code", SHOULD, f"{GRPC}: errors are told by google.rpc.Status", "the code of every refusal above says that the client was wrong, not the server")
def _(t):
    rpc(t)
    wrong = [each for each in t.rpc_refusals or not_applicable("nothing was refused") if each.code not in FAULTS_OF_THE_CLIENT]
    expect(not wrong, f"{len(wrong)} of {len(t.rpc_refusals)} are not so, as {wrong[0] if wrong else ''}")


@clause("grpc.error.words", SHOULD, f"{GRPC}: errors are told by google.rpc.Status", "every refusal says in words what was wrong")
def _(t):
    rpc(t)
    wrong = [each for each in t.rpc_refusals or not_applicable("nothing was refused") if not each.details]
    expect(not wrong, f"{len(wrong)} of {len(t.rpc_refusals)} have none, as {wrong[0].code if wrong else ''}")


@clause("grpc.survived", MUST, f"{GRPC}, Health", "after all that the server answers as before")
def _(t):
    base(t)
    expect_base(t, infer(t))
