"""REST: health, metadata, inference; what a server has to answer when nothing is wrong."""
from . import tensors
from .clauses import MUST, PRACTICE, REST, SHOULD, Failed, clause, expect, fail, not_applicable
from .target import NO_VERSION, NOBODY, outputs_of

HEALTH, SERVER, MODEL, INFER = (f"{REST}, {part}" for part in ("Health", "Server Metadata", "Model Metadata", "Inference"))
RESPONSE = f"{REST}, Inference Response JSON Object"
DATA = f"{REST}, Tensor Data"


def is_list_of(value, kind):
    return isinstance(value, list) and all(isinstance(each, kind) and not isinstance(each, bool) for each in value)


def get(t, path):
    answer = t.ask("GET", path)
    expect(answer.status == 200, f"expected 200, got {answer.status}")
    return answer


def get_or_skip(t, path, other):
    """For what is in an answer whose status another clause judges."""
    answer = t.ask("GET", path)
    return answer if answer.status == 200 else not_applicable(f"answered {answer.status}: see {other}")


# --- health -----------------------------------------------------------------------------------------------

@clause("health.live", MUST, HEALTH, "GET v2/health/live answers 200 while the server is live")
def _(t):
    get(t, "v2/health/live")


@clause("health.live.body", SHOULD, f"{REST}, Server Live Response JSON Object", 'the body is {"live": true} (the first edition had it empty)')
def _(t):
    expect(get_or_skip(t, "v2/health/live", "health.live").object().get("live") is True, 'the body has no "live": true')


@clause("health.ready", MUST, HEALTH, "GET v2/health/ready answers 200 while all models are ready")
def _(t):
    get(t, "v2/health/ready")


@clause("health.ready.body", SHOULD, f"{REST}, Server Ready Response JSON Object",
        'the body has a boolean, "live" as the specification writes it or "ready" as clients read it')
def _(t):
    body = get_or_skip(t, "v2/health/ready", "health.ready").object()
    expect(True in (body.get("live"), body.get("ready")), 'the body has neither "live": true nor "ready": true')


@clause("health.model", MUST, HEALTH, "GET v2/models/MODEL/ready answers 200 while the model is ready")
def _(t):
    get(t, t.path("ready"))


@clause("health.model.body", SHOULD, f"{REST}, Model Ready Response JSON Object", 'the body is {"name": MODEL, "ready": true}')
def _(t):
    body = get_or_skip(t, t.path("ready"), "health.model").object()
    expect(body.get("name") == t.model, f'"name" is {body.get("name")!r}')
    expect(body.get("ready") is True, f'"ready" is {body.get("ready")!r}')


@clause("health.model.version", MUST, HEALTH, "GET v2/models/MODEL/versions/VERSION/ready answers 200 for a version that is offered")
def _(t):
    for version in t.versions:
        get(t, t.path("ready", version))


@clause("health.model.unknown", MUST, HEALTH, "a model that is not there is not ready: no 200")
def _(t):
    expect(t.ask("GET", t.path("ready", model=NOBODY)).status >= 400, "a model that nobody has is ready")


@clause("health.model.unknown-version", MUST, HEALTH, "a version that is not there is not ready: no 200")
def _(t):
    t.versions
    expect(t.ask("GET", t.path("ready", NO_VERSION)).status >= 400, "a version that nobody has is ready")


# --- metadata -----------------------------------------------------------------------------------------------

@clause("server", MUST, SERVER, "GET v2 answers 200")
def _(t):
    get(t, "v2")


@clause("server.slash", SHOULD, "OIP v2 REST, OpenAPI description", "GET v2/ does, too: the description has the path with a slash")
def _(t):
    get(t, "v2/")


@clause("server.object", MUST, f"{REST}, Server Metadata Response JSON Object", "the body has the strings name and version, and extensions, a list of strings")
def _(t):
    body = get_or_skip(t, "v2", "server").object()
    for key in ("name", "version"):
        expect(isinstance(body.get(key), str), f'"{key}" is {body.get(key)!r}')
    expect(is_list_of(body.get("extensions"), str), f'"extensions" is {body.get("extensions")!r}')


@clause("metadata", MUST, MODEL, "GET v2/models/MODEL answers 200")
def _(t):
    get(t, t.path())


@clause("metadata.object", MUST, f"{REST}, Model Metadata Response JSON Object", "the body has the name that was asked for, the string platform, the lists inputs and outputs")
def _(t):
    body = get_or_skip(t, t.path(), "metadata").object()
    expect(body.get("name") == t.model, f'"name" is {body.get("name")!r}')
    expect(isinstance(body.get("platform"), str), f'"platform" is {body.get("platform")!r}')
    for key in ("inputs", "outputs"):
        expect(isinstance(body.get(key), list), f'"{key}" is {body.get(key)!r}')


def told_tensors(t):
    body = get_or_skip(t, t.path(), "metadata").object()
    told = [each for key in ("inputs", "outputs") if isinstance(body.get(key), list) for each in body[key]]
    return told or not_applicable("metadata tells of no tensors")


@clause("metadata.inputs", SHOULD, f"{REST}, Model Metadata Response JSON Object", "inputs are the inputs that the model requires, outputs those it produces: there are some")
def _(t):
    body = get_or_skip(t, t.path(), "metadata").object()
    for key in ("inputs", "outputs"):
        expect(body.get(key), f'"{key}" is empty')


@clause("metadata.tensor", MUST, f"{REST}, $metadata_tensor", "a tensor has a name and a datatype, which are strings, and a shape, a list")
def _(t):
    for each in told_tensors(t):
        expect(isinstance(each, dict) and all(isinstance(each.get(key), str) for key in ("name", "datatype")) and isinstance(each.get("shape"), list),
               f"a tensor is {each!r}")


@clause("metadata.datatype", MUST, f"{REST}, Tensor Data Types", "datatypes are those of the table")
def _(t):
    for each in told_tensors(t):
        if isinstance(each, dict) and isinstance(each.get("datatype"), str):
            expect(each["datatype"] in tensors.DATATYPES, f"tensor {each.get('name')}: datatype {each['datatype']}")


@clause("metadata.shape", MUST, f"{REST}, $metadata_tensor", "sizes are integers, and -1 where they vary")
def _(t):
    for each in told_tensors(t):
        if isinstance(each, dict) and isinstance(each.get("shape"), list):
            expect(is_list_of(each["shape"], int) and min(each["shape"], default=0) >= -1, f"tensor {each.get('name')}: shape {each['shape']}")


@clause("metadata.versions", MUST, f"{REST}, Model Metadata Response JSON Object", "versions, where they are there, are a list of strings")
def _(t):
    body = get_or_skip(t, t.path(), "metadata").object()
    if body.get("versions") is None:
        not_applicable("there are none")
    expect(is_list_of(body["versions"], str), f'"versions" is {body["versions"]!r}')


@clause("metadata.version", MUST, MODEL, "each version that is listed has metadata of its own path")
def _(t):
    for version in t.versions:
        expect(get(t, t.path(version=version)).object().get("name") == t.model, "it has another name")


@clause("metadata.platform", SHOULD, f"{REST}, Platforms", "the platform is written <project>_<format>")
def _(t):
    platform = get_or_skip(t, t.path(), "metadata").object().get("platform")
    if not isinstance(platform, str):
        not_applicable("there is none: see metadata.object")
    project, _, form = platform.partition("_")
    expect(project and form, f"platform is {platform!r}")


@clause("metadata.type", SHOULD, PRACTICE, "JSON is said to be application/json")
def _(t):
    for path in ("v2", t.path()):
        answer = get_or_skip(t, path, "server, metadata")
        expect(answer.media_type == "application/json", f"{path}: Content-Type is {answer.headers.get('content-type')!r}")


# --- inference ------------------------------------------------------------------------------------------------

@clause("infer.status", MUST, INFER, "a valid request, with data as flat lists, is answered 200")
def _(t):
    answer = t.infer(t.document())
    if answer.status != 200 and t.has_halves:
        not_applicable(f"answered {answer.status}, and 16-bit floats may be refused as JSON")
    expect(answer.status == 200, f"expected 200, got {answer.status}")


@clause("infer.type", SHOULD, f"{REST}, Inference Request Examples", "the response is said to be application/json")
def _(t):
    expect(t.base.media_type == "application/json", f"Content-Type is {t.base.headers.get('content-type')!r}")


@clause("infer.response.model_name", MUST, RESPONSE, "model_name is the model that was used")
def _(t):
    name = t.base.object().get("model_name")
    expect(name == t.model, f"model_name is {name!r}")


@clause("infer.response.model_version", MUST, RESPONSE, "model_version, where it is there, is a string")
def _(t):
    version = t.base.object().get("model_version")
    if version is None:
        not_applicable("there is none")
    expect(isinstance(version, str), f"model_version is {version!r}")


@clause("infer.response.outputs", MUST, f"{REST}, Response Output", "each output has a name, a shape, a datatype and data")
def _(t):
    outputs = t.base.object().get("outputs")
    expect(isinstance(outputs, list) and outputs, f"outputs is {outputs!r}")
    for each in outputs:
        expect(isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("datatype"), str)
               and isinstance(each.get("shape"), list) and isinstance(each.get("data"), list), f"an output is {str(each)[:200]}")


@clause("infer.response.shape", MUST, f"{REST}, Response Output", "the sizes of a shape are unsigned integers, whose product is the number of elements")
def _(t):
    for each in outputs_of(t.base):
        expect(is_list_of(each.shape, int) and min(each.shape, default=0) >= 0, f"output {each.name}: shape {each.shape}")
        expect(tensors.count(each.shape) == len(each.data), f"output {each.name}: shape {each.shape} and {len(each.data)} elements")


@clause("infer.response.data", MUST, DATA, "elements are what their datatype holds: numbers in its range, booleans, strings")
def _(t):
    for each in outputs_of(t.base):
        expect(each.datatype in tensors.DATATYPES, f"output {each.name}: datatype {each.datatype}")
        for value in each.data:
            expect(tensors.is_element(each.datatype, value), f"output {each.name}, {each.datatype}: an element is {value!r}")


@clause("infer.response.metadata", SHOULD, f"{REST}, Model Metadata Response JSON Object", "outputs are as the metadata has them: name, datatype, sizes")
def _(t):
    told = {each.name: each for each in t.outputs} or not_applicable("metadata tells of no outputs")
    for each in outputs_of(t.base):
        expect(each.name in told, f"metadata has no output {each.name}")
        spec = told[each.name]
        expect(each.datatype == spec.datatype, f"output {each.name}: {each.datatype}, and {spec.datatype} in the metadata")
        expect(len(each.shape) == len(spec.shape) and all(b in (-1, a) for a, b in zip(each.shape, spec.shape)),
               f"output {each.name}: shape {each.shape}, and {list(spec.shape)} in the metadata")


@clause("infer.response.all", MUST, f"{REST}, Inference Request JSON Object", "where none is asked for by name, all outputs come")
def _(t):
    told = {each.name for each in t.outputs} or not_applicable("metadata tells of no outputs")
    came = {each.name for each in outputs_of(t.base)}
    expect(told <= came, f"missing: {', '.join(sorted(told - came))}")


@clause("infer.response.parameters", MUST, f"{REST}, Parameters", "parameters, where they are there, are an object of strings, numbers and booleans")
def _(t):
    body = t.base.object()
    outputs = body.get("outputs")
    found = [each["parameters"] for each in [body, *(outputs if isinstance(outputs, list) else [])]
             if isinstance(each, dict) and each.get("parameters") is not None]
    if not found:
        not_applicable("there are none")
    for each in found:
        expect(isinstance(each, dict) and all(isinstance(value, (str, int, float, bool)) for value in each.values()), f"parameters is {each!r}")


@clause("infer.id", MUST, RESPONSE, "the id of the request is that of the response")
def _(t):
    expect_id(t, "42")


@clause("infer.id.any", MUST, RESPONSE, "... be it any string that JSON has")
def _(t):
    expect_id(t, 'Grüße "\\ \U0001f600')


def expect_id(t, name):
    t.base
    answer = t.infer(t.document(id=name))
    expect(answer.status == 200, f"with an id: {answer.status}")
    came = answer.object().get("id")
    expect(came == name, f"the id sent is {name!r}, the one that came back {came!r}")


@clause("infer.nested", MUST, DATA, "data may be nested as the shape says, and means the same as flat")
def _(t):
    t.base
    made = t.tensors()
    if all(len(each.shape) < 2 for each in made):
        not_applicable("all inputs have one dimension")
    t.expect_same(t.infer({"inputs": [each.nested() for each in made]}))


@clause("infer.order", MUST, f"{REST}, Request Input", "inputs are known by their names, in any order")
def _(t):
    t.base
    if len(t.inputs) < 2:
        not_applicable("the model has one input")
    t.expect_same(t.infer({"inputs": [each.rest() for each in reversed(t.tensors())]}))


@clause("infer.keys", MUST, "RFC 8259, section 4", "members of objects may come in any order: data before what it is")
def _(t):
    t.base
    inputs = [dict(reversed(each.rest().items())) for each in t.tensors()]
    t.expect_same(t.infer({"parameters": {}, "inputs": inputs}))


@clause("infer.batch", MUST, f"{REST}, Response Output", "the shape of a batched output is that of the whole batch, 1 row or 5")
def _(t):
    t.base
    if not all(each.is_batched for each in t.inputs):
        not_applicable("the first size of an input is fixed")
    batched = {each.name for each in t.outputs if each.is_batched} or not_applicable("metadata tells of no output with rows")
    for rows in (1, 5):
        answer = t.infer(t.document(rows))
        expect(answer.status == 200, f"{rows} rows: {answer.status}")
        for each in outputs_of(answer):
            expect(each.name not in batched or each.shape[:1] == [rows], f"{rows} rows in, output {each.name} has shape {each.shape}")


@clause("infer.outputs", MUST, f"{REST}, Request Output", "an output that is asked for by name comes")
def _(t):
    for name in [each.name for each in outputs_of(t.base)]:
        answer = t.infer(t.document(outputs=[{"name": name}]))
        expect(answer.status == 200, f"output {name}: {answer.status}")
        expect(name in [each.name for each in outputs_of(answer)], f"output {name} did not come")


def several_outputs(t):
    names = [each.name for each in outputs_of(t.base)]
    return names if len(names) > 1 else not_applicable("the model has one output")


@clause("infer.outputs.only", SHOULD, f"{REST}, Request Output", "... and no other")
def _(t):
    name = several_outputs(t)[-1]
    answer = t.infer(t.document(outputs=[{"name": name}]))
    if answer.status != 200:
        not_applicable("it did not come: see infer.outputs")
    names = [each.name for each in outputs_of(answer)]
    expect(set(names) <= {name}, f"asked for {name}, got {', '.join(names)}")


@clause("infer.outputs.order", SHOULD, PRACTICE, "outputs come in the order in which they are asked for")
def _(t):
    names = several_outputs(t)[::-1]
    answer = t.infer(t.document(outputs=[{"name": name} for name in names]))
    if answer.status != 200:
        not_applicable("they did not come: see infer.outputs")
    came = [each.name for each in outputs_of(answer)]
    if set(came) == set(names):
        expect(came == names, f"asked for {', '.join(names)}; got {', '.join(came)}")


@clause("infer.parameters.empty", MUST, f"{REST}, Parameters", "parameters with nothing in them are parameters: of the request, an input, an output")
def _(t):
    names = [each.name for each in outputs_of(t.base)]
    t.expect_same(t.infer({"parameters": {}, "inputs": [each.rest(parameters={}) for each in t.tensors()],
                           "outputs": [{"name": name, "parameters": {}} for name in names]}))


@clause("infer.parameters.other", SHOULD, f"{REST}, Parameters", "strings, numbers and booleans of any name may be given")
def _(t):
    t.base
    answer = t.infer(t.document(parameters={"conformance_a": "text", "conformance_b": 7, "conformance_c": 0.5, "conformance_d": True}))
    expect(answer.status == 200, f"expected 200, got {answer.status}")


@clause("infer.unknown-member", SHOULD, PRACTICE, "members that the protocol does not know are passed over")
def _(t):
    t.base
    made = [each.rest(conformance_unknown=[1]) for each in t.tensors()]
    t.expect_same(t.infer({"conformance_unknown": {"a": [None]}, "inputs": made}))


@clause("infer.integers-for-floats", SHOULD, DATA, "an element may be an integer: 1 is taken for 1.0")
def _(t):
    t.base
    t.spec("FP16", "FP32", "FP64")
    inputs = [each.rest(data=[int(value) for value in each.data]) if tensors.is_float(each.datatype) else each.rest() for each in t.tensors()]
    answer = t.infer({"inputs": inputs})
    expect(answer.status == 200, f"expected 200, got {answer.status}")


@clause("infer.version", MUST, INFER, "a version that is listed answers below its own path, and says so in model_version")
def _(t):
    t.base
    for version in t.versions:
        answer = t.infer(t.document(), version=version)
        expect(answer.status == 200, f"version {version}: {answer.status}")
        came = answer.object().get("model_version")
        expect(came in (None, version), f"version {version} was asked, model_version is {came!r}")


def returns_as_sent(datatype):
    def check(t):
        t.spec(datatype)
        t.base
        names = {each.name for each in t.inputs if each.datatype == datatype}
        echoes = {out: name for out, name in t.echoes.items() if name in names} or not_applicable(f"no output is an echo of an input of {datatype}")
        made = {each.name: each for each in t.tensors()}
        for name in names:
            made[name].data = tensors.extreme(datatype, len(made[name].data))
        answer = t.infer({"inputs": [each.rest() for each in made.values()]})
        expect(answer.status == 200, f"expected 200, got {answer.status}")
        for each in outputs_of(answer):
            if each.name in echoes:
                expect_as_sent(each, made[echoes[each.name]])
    return check


def expect_as_sent(came, sent):
    try:
        mine, theirs = tensors.rounded(sent.datatype, came.data), tensors.rounded(sent.datatype, sent.data)
    except Exception as why:
        raise Failed(f"output {came.name}: its data is no {sent.datatype}: {why}") from None
    for i, (got, wanted) in enumerate(zip(mine, theirs)):
        expect(got == wanted, f"output {came.name}, element {i}: {wanted!r} was sent, {got!r} came back")
    if len(mine) != len(theirs):
        fail(f"output {came.name}: {len(theirs)} elements were sent, {len(mine)} came back")


for each in tensors.DATATYPES:
    clause(f"infer.datatype.{each}", MUST, f"{REST}, Tensor Data Types",
           f"{each} at the ends of its range passes unharmed through a model that gives back what it gets")(returns_as_sent(each))
