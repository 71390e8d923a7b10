"""REST: requests that can't be answered. One clause for each says that it is refused; three that go over all refusals say how."""
import json

from . import tensors
from .clauses import MUST, PRACTICE, REST, SHOULD, Failed, clause, expect, not_applicable
from .target import NO_VERSION, NOBODY

REQUEST = f"{REST}, Inference Request JSON Object"
INPUT = f"{REST}, Request Input"
DATA = f"{REST}, Tensor Data"
ERROR = f"{REST}, Inference Response JSON Error Object"
JSON = "RFC 8259"


def refused(t, answer):
    t.refusals.append(answer)
    expect(answer.status >= 400, f"expected an error, got {answer.status}")


def refuses(name, level, section, says):
    """Decorates a function that makes the body of an infer request which nobody can answer."""
    def register(make):
        def check(t):
            t.base  # who refuses everything refuses nothing
            refused(t, t.infer(make(t)))
        clause(f"refuse.{name}", level, section, f"refused: {says}")(check)
        return make
    return register


def with_first(t, **changes):
    """A valid request but for its first input; None leaves a member out."""
    document = t.document()
    first = {**document["inputs"][0], **changes}
    document["inputs"][0] = {key: value for key, value in first.items() if value is not None}
    return document


def with_input(t, spec, **changes):
    document = t.document()
    document["inputs"] = [{**each, **changes} if each["name"] == spec.name else each for each in document["inputs"]]
    return document


def first(t):
    return t.tensors()[0]


# --- what is no request -----------------------------------------------------------------------------------------

@refuses("empty", MUST, REQUEST, "a body with nothing in it")
def _(t):
    return b""


@refuses("json.cut", MUST, JSON, "a document that ends in its middle")
def _(t):
    return json.dumps(t.document()).encode()[:-7]


@refuses("json.more", MUST, JSON, "a document with something behind it")
def _(t):
    return json.dumps(t.document()).encode() + b" {}"


@refuses("json.utf8", MUST, JSON, "a document that is not UTF-8")
def _(t):
    return json.dumps(t.document(id="ID")).encode().replace(b"ID", b"\xff\xfe\xc3(")


@refuses("json.nan", SHOULD, JSON, "NaN bare, which JSON does not have")
def _(t):
    document = t.document()
    spec = t.spec("FP16", "FP32", "FP64")
    document = with_input(t, spec, data=[float("nan")] * tensors.count(spec.sized(2)))
    return json.dumps(document).encode()


@refuses("json.deep", MUST, JSON, "100,000 lists in each other, which nobody's stack should follow")
def _(t):
    return b'{"inputs":' + b"[" * 100000 + b"]" * 100000 + b"}"


@refuses("json.list", MUST, REQUEST, "a document that is no object")
def _(t):
    return [t.document()]


# --- what lacks something -----------------------------------------------------------------------------------------

@refuses("inputs.missing", MUST, REQUEST, "no inputs")
def _(t):
    return {"id": "1"}


@refuses("inputs.kind", MUST, REQUEST, "inputs that are no list")
def _(t):
    return {"inputs": {"name": "x"}}


@refuses("inputs.empty", MUST, f"{REST}, Model Metadata Response JSON Object", "an empty list of inputs, where the model requires some")
def _(t):
    return {"inputs": []}


@refuses("inputs.one-missing", MUST, f"{REST}, Model Metadata Response JSON Object", "one of the inputs that the model requires is not there")
def _(t):
    document = t.document()
    return {"inputs": document["inputs"][:-1]} if len(t.inputs) > 1 else not_applicable("the model has one input")


@refuses("inputs.unknown", MUST, f"{REST}, Model Metadata Response JSON Object", "an input under another name")
def _(t):
    return with_first(t, name="conformance-no-such-input")


@refuses("inputs.extra", SHOULD, f"{REST}, Model Metadata Response JSON Object", "an input too many, which the model does not have")
def _(t):
    document = t.document()
    return {"inputs": [*document["inputs"], {**document["inputs"][0], "name": "conformance-no-such-input"}]}


@refuses("inputs.twice", SHOULD, INPUT, "an input given twice")
def _(t):
    document = t.document()
    return {"inputs": [*document["inputs"], document["inputs"][0]]}


for _member in ("name", "shape", "datatype", "data"):
    @refuses(f"input.no-{_member}", MUST, INPUT, f"an input without {_member}")
    def _(t, member=_member):
        return with_first(t, **{member: None})


# --- shapes -------------------------------------------------------------------------------------------------------

@refuses("shape.short", MUST, INPUT, "fewer elements than the shape has")
def _(t):
    return with_first(t, data=first(t).data[:-1])


@refuses("shape.long", MUST, INPUT, "more elements than the shape has")
def _(t):
    return with_first(t, data=[*first(t).data, first(t).data[0]])


@refuses("shape.negative", MUST, INPUT, "a size that is negative")
def _(t):
    return with_first(t, shape=[-size for size in first(t).shape])


@refuses("shape.varies", MUST, INPUT, "-1 for a size, as metadata has it: a request says how many")
def _(t):
    return with_first(t, shape=[-1, *first(t).shape[1:]])


@refuses("shape.fraction", MUST, INPUT, "a size that is no integer")
def _(t):
    shape = first(t).shape
    return with_first(t, shape=[shape[0] + 0.5, *shape[1:]])


@refuses("shape.word", MUST, INPUT, "a size that is a string")
def _(t):
    return with_first(t, shape=["many", *first(t).shape[1:]])


@refuses("shape.overflow", MUST, INPUT, "sizes whose product, in 64 bits, would be the right number")
def _(t):
    data, rank = first(t).data, len(first(t).shape)
    if rank < 2:
        return with_first(t, shape=[2**64 + len(data)])
    return with_first(t, shape=[2**32, 2**32, *[1] * (rank - 2)], data=[])


@refuses("shape.fixed", SHOULD, f"{REST}, $metadata_tensor", "another size where the metadata has a fixed one")
def _(t):
    for spec in t.inputs:
        fixed = [i for i, size in enumerate(spec.shape) if size > 0 and i > 0]
        if fixed:
            shape = spec.sized(2)
            shape[fixed[0]] += 1
            return with_input(t, spec, shape=shape, data=tensors.harmless(spec.datatype, tensors.count(shape)))
    return not_applicable("no input has a fixed size")


@refuses("shape.rank", SHOULD, f"{REST}, $metadata_tensor", "one dimension more than the metadata has")
def _(t):
    return with_first(t, shape=[*first(t).shape, 1])


@refuses("data.ragged", MUST, DATA, "nested lists of unequal length")
def _(t):
    for each in t.tensors():
        if len(each.shape) >= 2 and each.shape[0] == 2 and tensors.count(each.shape[1:]) >= 2:
            rows = tensors.nest(each.data, [2, tensors.count(each.shape[1:])])
            return with_input(t, each, data=[rows[0] + rows[1][-1:], rows[1][:-1]])
    return not_applicable("no input has two rows of two elements")


# --- datatypes and elements -----------------------------------------------------------------------------------------

@refuses("datatype.unknown", MUST, f"{REST}, Tensor Data Types", "a datatype that is none")
def _(t):
    return with_first(t, datatype="FP31")


@refuses("datatype.case", MUST, f"{REST}: all strings are case-sensitive", "a datatype in small letters")
def _(t):
    return with_first(t, datatype=first(t).datatype.lower())


@refuses("datatype.other", SHOULD, f"{REST}, Model Metadata Response JSON Object", "a datatype that is not the one of the metadata")
def _(t):
    other = "BOOL" if first(t).datatype == "BYTES" else "BYTES"
    return with_first(t, datatype=other, data=tensors.harmless(other, len(first(t).data)))


@refuses("data.word", MUST, DATA, "a word where a number is due, which nobody can make one of")
def _(t):
    spec = t.spec(*(each for each in tensors.DATATYPES if each not in ("BYTES", "BOOL")))
    return with_input(t, spec, data=["seven"] * tensors.count(spec.sized(2)))


@refuses("data.object", MUST, DATA, "an element that is an object: it may be a number, a string or a boolean")
def _(t):
    return with_first(t, data=[{"a": 1}] * len(first(t).data))


@refuses("data.null", SHOULD, DATA, "an element that is null")
def _(t):
    return with_first(t, data=[None] * len(first(t).data))


@refuses("data.range", SHOULD, DATA, "an integer that its datatype does not hold (it may be coerced; it should not become another number)")
def _(t):
    spec = t.spec("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64")
    return with_input(t, spec, data=[tensors.range_of(spec.datatype)[1] + 1] * tensors.count(spec.sized(2)))


# --- the rest of the request ------------------------------------------------------------------------------------------

@refuses("outputs.unknown", SHOULD, f"{REST}, Request Output", "an output that the model does not have")
def _(t):
    return t.document(outputs=[{"name": "conformance-no-such-output"}])


@refuses("outputs.kind", SHOULD, REQUEST, "outputs that are no list")
def _(t):
    return t.document(outputs={"name": "x"})


@refuses("id.kind", SHOULD, REQUEST, "an id that is a number: it is a string")
def _(t):
    return t.document(id=42)


@refuses("parameters.kind", SHOULD, f"{REST}, Parameters", "parameters that are a list: they are an object")
def _(t):
    return t.document(parameters=[1])


# --- names ------------------------------------------------------------------------------------------------------------

def _name(name, level, section, says, path):
    def check(t):
        t.base
        refused(t, t.ask("POST", path(t), t.document()))
    clause(f"refuse.{name}", level, section, f"refused: {says}")(check)


def _swapped(t):
    swapped = t.model.swapcase()
    return t.path("infer", model=swapped) if swapped != t.model else not_applicable("its name has no letters")


_name("model.unknown", MUST, f"{REST}, Inference", "a model that is not there", lambda t: t.path("infer", model=NOBODY))
_name("model.version", MUST, f"{REST}, Inference", "a version that is not there", lambda t: t.path("infer", NO_VERSION))
_name("model.case", MUST, f"{REST}: all strings are case-sensitive", "the model's name with small letters for large ones", _swapped)


@clause("refuse.metadata.unknown", MUST, f"{REST}, Model Metadata Response JSON Error Object", "refused: metadata of a model that is not there")
def _(t):
    refused(t, t.ask("GET", t.path(model=NOBODY)))


@clause("refuse.metadata.version", MUST, f"{REST}, Model Metadata Response JSON Error Object", "refused: metadata of a version that is not there")
def _(t):
    t.versions
    refused(t, t.ask("GET", t.path(version=NO_VERSION)))


# --- how it is refused ------------------------------------------------------------------------------------------------

def failures(t):
    return [each for each in t.refusals if each.status >= 400] or not_applicable("nothing was refused")


def over_all(t, is_right):
    """Fails with the first that is wrong, and how many are."""
    wrong = [each for each in failures(t) if not is_right(each)]
    if wrong:
        t.transcript.append({"sent": "(one of the requests above)", "received": str(wrong[0])})
        raise Failed(f"{len(wrong)} of {len(failures(t))} are not so, as {wrong[0].status} {wrong[0].body[:120]!r}")


def has_words(answer):
    try:
        body = json.loads(answer.body)
        return isinstance(body, dict) and isinstance(body.get("error"), str) and body["error"].strip() != ""
    except (ValueError, RecursionError):
        return False


@clause("error.object", MUST, ERROR, 'the body of every refusal above is {"error": what was wrong, as a string}')
def _(t):
    over_all(t, has_words)


@clause("error.status", SHOULD, ERROR, "its status says that the client was wrong: 4xx (typically 400)")
def _(t):
    over_all(t, lambda answer: answer.status < 500 or answer.status == 501)


@clause("error.type", SHOULD, PRACTICE, "it is said to be application/json (KServe's client reads the words then alone)")
def _(t):
    over_all(t, lambda answer: answer.media_type == "application/json")


@clause("error.survived", MUST, f"{REST}, Health", "after all that the server is live and answers as before")
def _(t):
    t.base
    t.expect_same(t.infer(t.document()))
