"""REST: Triton's binary tensor data extension, where the server lists binary_tensor_data among its extensions."""
import json

from . import tensors
from .clauses import BINARY, MUST, PRACTICE, SHOULD, Failed, clause, expect, not_applicable
from .rest_refusals import has_words, refused
from .target import expect_alike, outputs_of
from .tensors import Tensor

LENGTH = "inference-header-content-length"


def offered(t):
    """The plain request's outputs, where there is anything to be compared with them."""
    if "binary_tensor_data" not in t.extensions:
        not_applicable("the server does not list binary_tensor_data")
    plain = outputs_of(t.base)
    if any(tensors.count(each.shape) != len(each.data) for each in plain):
        not_applicable("sizes are wrong: see infer.response.shape")
    return plain


def as_binary(t, made, **more):
    """A body and its headers with all these tensors behind the document."""
    return framed({"inputs": [described(each) for each in made], **more}, b"".join(each.binary() for each in made))


def described(tensor):
    document = tensor.rest(parameters={"binary_data_size": len(tensor.binary())})
    del document["data"]
    return document


def framed(document, blobs, length=None):
    head = json.dumps(document).encode()
    return head + blobs, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head) if length is None else length)}


def take_apart(answer):
    """{output: (its description, its bytes or None)} of a response, in order; Failed where it is not framed as it should be."""
    expect(answer.status == 200, f"expected 200, got {answer.status}")
    length = answer.headers.get(LENGTH)
    expect(length is None or length.isdigit(), f"Inference-Header-Content-Length is {length!r}")
    size = len(answer.body) if length is None else int(length)
    expect(size <= len(answer.body), f"Inference-Header-Content-Length is {size}, and the body has {len(answer.body)} bytes")
    try:
        document, at, found = json.loads(answer.body[:size]), size, {}
        for each in document["outputs"]:
            bytes_ = each.get("parameters", {}).get("binary_data_size")
            found[each["name"]] = (each, None if bytes_ is None else answer.body[at:at + bytes_])
            at += bytes_ or 0
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise Failed(f"the document in front is not one: {type(why).__name__} {why}") from None
    expect(at == len(answer.body), f"the sizes of document and tensors add up to {at}, and the body has {len(answer.body)} bytes")
    return found


def decoded(found):
    outputs = []
    for name, (each, data) in found.items():
        expect(data is not None, f"output {name} is not binary")
        expect("data" not in each, f"output {name} has data in the document, too")
        try:
            outputs.append(Tensor(name, each["datatype"], each["shape"], tensors.unpack(each["datatype"], data)))
        except (ValueError, KeyError) as why:
            raise Failed(f"output {name}: {why}") from None
    return outputs


def expect_plain(t, answer):
    """It is the answer to the plain request, with everything binary."""
    expect_alike(decoded(take_apart(answer)), offered(t), t.is_deterministic)


@clause("binary.input", MUST, BINARY, "an input may stand behind the document, with its size as binary_data_size; without a word of outputs those are JSON")
def _(t):
    offered(t)
    t.expect_same(t.infer(*as_binary(t, t.tensors())))


@clause("binary.mixed", MUST, BINARY, "some inputs in the document, some behind it")
def _(t):
    offered(t)
    if len(t.inputs) < 2:
        not_applicable("the model has one input")
    made = t.tensors()
    document = {"inputs": [made[0].rest(), *(described(each) for each in made[1:])]}
    t.expect_same(t.infer(*framed(document, b"".join(each.binary() for each in made[1:]))))


@clause("binary.output", MUST, BINARY, "an output with binary_data: true comes behind the document")
def _(t):
    names = [each.name for each in offered(t)]
    expect_plain(t, t.infer(t.document(outputs=[{"name": name, "parameters": {"binary_data": True}} for name in names])))


@clause("binary.outputs", MUST, BINARY, "binary_data_output: true makes all outputs binary")
def _(t):
    offered(t)
    expect_plain(t, t.infer(t.document(parameters={"binary_data_output": True})))


@clause("binary.override", MUST, BINARY, "binary_data of an output goes before binary_data_output")
def _(t):
    names = [each.name for each in offered(t)]
    outputs = [{"name": name, "parameters": {"binary_data": False}} for name in names]
    t.expect_same(t.infer(t.document(parameters={"binary_data_output": True}, outputs=outputs)))


@clause("binary.both-ways", MUST, BINARY, "binary both ways, as clients do by default")
def _(t):
    offered(t)
    expect_plain(t, t.infer(*as_binary(t, t.tensors(), parameters={"binary_data_output": True})))


@clause("binary.type", SHOULD, BINARY, "a response with binary tensors is said to be application/octet-stream")
def _(t):
    offered(t)
    answer = t.infer(t.document(parameters={"binary_data_output": True}))
    if LENGTH not in answer.headers:
        not_applicable("no binary tensor came: see binary.outputs")
    expect(answer.media_type == "application/octet-stream", f"Content-Type is {answer.headers.get('content-type')!r}")


@clause("binary.datatypes", MUST, BINARY, "every datatype passes unharmed both ways through a model that gives back what it gets")
def _(t):
    offered(t)
    echoes = t.echoes or not_applicable("no output is an echo of an input")
    made = t.tensors(values=tensors.extreme)
    sent = {each.name: each for each in made}
    for name, (each, data) in take_apart(t.infer(*as_binary(t, made, parameters={"binary_data_output": True}))).items():
        if name in echoes and data is not None:
            wanted = sent[echoes[name]].binary()
            expect(data == wanted, f"output {name}, {each['datatype']}: {wanted[:40].hex()} was sent, {data[:40].hex()} came back")


def refuses(name, level, says):
    def register(make):
        def check(t):
            offered(t)
            refused(t, t.infer(*make(t)))
        clause(f"binary.refuse.{name}", level, BINARY, f"refused: {says}")(check)
        return make
    return register


@refuses("short", MUST, "a body that ends before the last tensor does")
def _(t):
    body, headers = as_binary(t, t.tensors())
    return body[:-1], headers


@refuses("long", SHOULD, "bytes behind the last tensor")
def _(t):
    body, headers = as_binary(t, t.tensors())
    return body + b"\0", headers


@refuses("size", MUST, "a binary_data_size that is not what the shape takes")
def _(t):
    made = t.tensors()
    document = {"inputs": [described(each) for each in made]}
    document["inputs"][0]["parameters"]["binary_data_size"] += 1
    return framed(document, made[0].binary() + b"\0" + b"".join(each.binary() for each in made[1:]))


@refuses("negative", MUST, "a binary_data_size that is negative")
def _(t):
    made = t.tensors()
    document = {"inputs": [described(each) for each in made]}
    document["inputs"][0]["parameters"]["binary_data_size"] = -8
    return framed(document, b"".join(each.binary() for each in made))


@refuses("header.long", MUST, "an Inference-Header-Content-Length beyond the end of the body")
def _(t):
    body, headers = as_binary(t, t.tensors())
    return body, {**headers, "Inference-Header-Content-Length": str(len(body) + 1)}


@refuses("header.word", MUST, "an Inference-Header-Content-Length that is no number")
def _(t):
    body, headers = as_binary(t, t.tensors())
    return body, {**headers, "Inference-Header-Content-Length": "many"}


@refuses("header.cut", MUST, "an Inference-Header-Content-Length that cuts the document")
def _(t):
    body, headers = as_binary(t, t.tensors())
    return body, {**headers, "Inference-Header-Content-Length": str(int(headers["Inference-Header-Content-Length"]) - 2)}


@refuses("element", MUST, "an element of BYTES that says it is longer than the tensor")
def _(t):
    t.spec("BYTES")
    made = t.tensors()
    blobs = [each.binary() for each in made]
    index = [each.datatype for each in made].index("BYTES")
    blobs[index] = b"\xff\xff\xff\x7f" + blobs[index][4:]
    return framed({"inputs": [described(each) for each in made]}, b"".join(blobs))


@clause("binary.error", MUST, PRACTICE, 'refusals of binary requests are JSON, too: {"error": ...}')
def _(t):
    offered(t)
    if t.refusals and not has_words(t.refusals[0]):
        not_applicable("others are not, either: see error.object")
    body, headers = as_binary(t, t.tensors(), parameters={"binary_data_output": True})
    answer = t.infer(body[:-1], headers)
    if answer.status < 400:
        not_applicable("it was not refused: see binary.refuse.short")
    expect(isinstance(answer.object().get("error"), str), f"the body is {answer.body[:200]!r}")
