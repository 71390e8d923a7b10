"""A small server of the protocol that is right, and wrong on demand: each of its faults is named after the clause that it breaks.

    with WrongServer(fault="infer.id") as server: ...          server.url, server.grpc; models Echo (every datatype but 16-bit
                                                               floats) and Halves (those); fault None: all is right

It is written from the specification for the suite's own tests, to be read and not to be served with.
"""
import functools
import gzip
import json
import threading
import zlib
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import grpc
from oip import tensors
from oip.rpc import FIELDS
from oip.tensors import Spec, Tensor

VERSIONS = ["1", "2"]
EXTRA = Spec("rows", "INT64", (-1,))  # an output that is no echo: the number of each row
MODELS = {"Echo": [Spec("in_FP32", "FP32", (-1, 4)), *(Spec(f"in_{each}", each, (-1, 3)) for each in tensors.SPECIFIED if each not in ("FP16", "FP32"))],
          "Halves": [Spec(f"in_{each}", each, (-1, 3)) for each in tensors.HALVES]}
LONG = 299  # bytes: an element that only extreme() has


class Refused(Exception):
    def __init__(self, words, status=400, **headers):
        super().__init__(words)
        self.status, self.headers = status, headers


class Accepted(Exception):
    """A fault: what should have been refused is answered."""


def outputs_of(model):
    return [Spec(each.name.replace("in_", "out_"), each.datatype, each.shape) for each in MODELS[model]] + [EXTRA]


class Model:
    """What REST and gRPC share: checks, and the answer. over: "" for REST, "grpc." for gRPC."""

    def __init__(self, fault):
        self.fault = fault

    def on(self, fault):
        return self.fault == fault

    def check(self, clause, is_wrong, words="that will not do", status=400):
        if is_wrong:
            raise Accepted if self.on(clause) else Refused(words, status)

    def id(self, name):
        if self.on(f"{self.over}infer.id") and name.isascii():
            return ""
        return name.encode("ascii", "replace").decode() if self.on(f"{self.over}infer.id.any") else name

    def metadata(self, model, over):
        """over: "metadata" or "grpc.metadata"."""
        inputs, outputs, versions = list(MODELS[model]), outputs_of(model), list(VERSIONS)
        if self.on(f"{over}.inputs"):
            inputs = []
        if self.on(f"{over}.same"):
            versions.reverse()
        return inputs, outputs, versions

    def answer(self, model, given, wanted):
        """Tensors, of inputs by name that were checked."""
        rows = given[MODELS[model][0].name].shape[0]
        found = [Tensor(spec.name, spec.datatype, given[spec.name.replace("out_", "in_")].shape, given[spec.name.replace("out_", "in_")].data)
                 for spec in outputs_of(model)[:-1]]
        found.append(Tensor("rows", "INT32" if self.on("infer.response.metadata") else "INT64", [rows], list(range(rows))))
        if self.on("infer.batch") and rows == 5:
            found[-1] = Tensor("rows", "INT64", [2], [0, 1])
        if not wanted:
            return found[:-1] if self.on("infer.response.all") else found
        if self.on("infer.outputs") and not self.over and wanted == ["rows"]:
            raise Refused("rows is not to be had alone")
        if self.on(f"{self.over}infer.outputs.only"):
            wanted = wanted + [each.name for each in found if each.name not in wanted]
        if self.on("infer.outputs.order"):
            wanted = [each.name for each in found if each.name in wanted]
        return [next(each for each in found if each.name == name) for name in wanted]


# --- REST ---------------------------------------------------------------------------------------------------

class Rest(BaseHTTPRequestHandler, Model):
    over, wants_binary = "", False
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, -1  # one write, one packet

    def __init__(self, fault, *arguments):
        Model.__init__(self, fault)
        BaseHTTPRequestHandler.__init__(self, *arguments)

    def log_message(self, *_):
        pass

    def do(self):
        self.close_connection = self.headers.get("Connection") == "close"
        try:
            body = self.body()
            self.route([unquote(each) for each in self.path.strip("/").split("/")], body)
        except Accepted:
            self.reply({"model_name": "Echo", "outputs": []})
        except Refused as why:
            if self.on("http.keep-alive"):
                self.close_connection = True
            self.refuse(why)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do

    def refuse(self, why):
        told = {"message": str(why)} if self.on("error.object") else {"error": str(why)}
        if self.on("binary.error") and self.wants_binary:
            told = "no JSON"
        status = 500 if self.on("error.status") and why.status == 400 else why.status
        headers = {} if self.on("http.allow") or "allow" not in why.headers else {"Allow": why.headers["allow"]}
        self.reply(told, status, "text/html" if self.on("error.type") else "application/json", headers)

    def reply(self, document, status=200, kind="application/json", headers=None, blobs=b""):
        head = document if isinstance(document, bytes) else document.encode() if isinstance(document, str) else json.dumps(document).encode()
        body, headers = head + blobs, dict(headers or {})
        if blobs:
            headers["Inference-Header-Content-Length"] = len(head)
        accepts = self.headers.get("Accept-Encoding", "")
        if len(body) > 4000 and ("gzip" in accepts or self.on("http.identity") and accepts == "identity"):
            headers["Content-Encoding"] = "gzip"
            body = body if self.on("http.gzip") else gzip.compress(body)
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            if self.on("http.chunked"):
                self.close_connection = True
                raise Refused("no chunks", 411)
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit():
            self.close_connection = True
            self.check("http.length-bad", True)
        if self.on("http.length-short") and self.close_connection and self.command == "POST":
            return self.rfile.read(int(length) + 10)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            self.check("http.length-long", True)
        return body

    # --- paths ------------------------------------------------------------------------------------------

    def route(self, path, body):
        if path == ["v2"]:
            if self.on("server") and not self.path.endswith("/") or self.on("server.slash") and self.path.endswith("/"):
                raise Refused("not today", 500)
            return self.server_metadata()
        if path[:2] == ["v2", "health"] and len(path) == 3 and path[2] in ("live", "ready"):
            self.method("GET", "HEAD", "http.head")
            name = f"health.{path[2]}"
            return self.reply({} if self.on(f"{name}.body") else {path[2]: True}, 503 if self.on(name) else 200)
        if path[:2] != ["v2", "models"] or len(path) < 3:
            raise Refused("no such path", 400 if self.on("http.path") else 404)
        return self.model(path[2], path[3:], body)

    def method(self, *allowed):
        if self.command not in allowed or self.command == "HEAD" and self.on("http.head"):
            raise Refused("wrong method", 400 if self.on("http.method") and self.command != "GET" else 405, allow=", ".join(allowed[:2]))

    def server_metadata(self):
        told = {"name": "fake", "version": "1", "extensions": ["binary_tensor_data"]}
        if self.on("server.object"):
            del told["extensions"]
        self.reply(told, kind="text/plain" if self.on("metadata.type") else "application/json")

    def model(self, model, rest, body):
        version = None
        if rest[:1] == ["versions"]:
            version, rest = rest[1], rest[2:]
        verb = rest[0] if rest else ""
        unknown = 400 if self.on("http.unknown-is-404") and not verb else 404
        cases = {"ready": ("health.model.unknown", "health.model.unknown-version"), "": ("refuse.metadata.unknown", "refuse.metadata.version"),
                 "infer": ("refuse.model.unknown", "refuse.model.version")}
        no_model, no_version = cases.get(verb, ("", ""))
        if model.swapcase() in MODELS:
            self.check("refuse.model.case", True, status=404)
        self.check(no_model, model not in MODELS, "no such model", unknown)
        if verb == "" and version not in (None, *VERSIONS):
            self.server.stumbles = self.on("error.survived") and not hasattr(self.server, "stumbles")
        self.check(no_version, version not in (None, *VERSIONS), "no such version", unknown)
        if verb == "ready":
            wrong = self.on("health.model") and not version or self.on("health.model.version") and version
            self.reply({"name": model, "ready": not self.on("health.model.body")}, 503 if wrong else 200)
        elif verb == "infer":
            if self.on("http.get-infer") and self.command == "GET":
                raise Accepted
            self.method("POST")
            self.infer(model, version, body)
        elif verb:
            raise Refused("no such path", 400 if self.on("http.path") else 404)
        else:
            self.method("GET")
            self.model_metadata(model, version)

    def model_metadata(self, model, version):
        if self.on("metadata") and not version or self.on("metadata.version") and version:
            raise Refused("not today", 500)
        inputs, outputs, versions = self.metadata(model, "metadata")
        told = {"name": "another" if self.on("metadata.object") and not version else model, "versions": versions, "platform": "fake_echo",
                "inputs": [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in inputs],
                "outputs": [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in outputs]}
        if self.on("metadata.tensor"):
            del told["outputs"][0]["datatype"]
        if self.on("metadata.datatype"):
            told["outputs"][0]["datatype"] = "FLOAT"
        if self.on("metadata.shape"):
            told["inputs"][0]["shape"][1] += 0.5
        if self.on("metadata.versions"):
            told["versions"] = "1, 2"
        if self.on("metadata.platform"):
            told["platform"] = "fake"
        self.reply(told, kind="text/plain" if self.on("metadata.type") else "application/json")

    # --- inference ----------------------------------------------------------------------------------------

    def infer(self, model, version, body):
        if getattr(self.server, "stumbles", False):
            self.server.stumbles = False
            raise Refused("where am I?", 500)
        if self.on("infer.status"):
            raise Refused("never")
        kind = self.headers.get("Content-Type")
        if kind is None and self.on("http.no-type") or kind and "charset" in kind and self.on("http.charset"):
            raise Refused("what is it?", 415)
        if self.headers.get("Accept") == "application/json" and self.on("http.accept"):
            raise Refused("I would rather not", 406)
        body = self.inflated(body)
        document, blobs = self.parsed(body)
        made = self.inputs(model, document, blobs)
        binary = blobs is not None
        self.members(document)
        wanted = self.wanted(model, document)
        found = self.answer(model, made, wanted)
        if self.says_otherwise(document) and found[-1].name == "rows":
            found[-1].data = [7] * len(found[-1].data)
        self.respond(model, version, document, found, binary)

    def inflated(self, body):
        coding = self.headers.get("Content-Encoding")
        if coding and self.on("http.gzip-request"):
            raise Refused("what is that?")
        return {"gzip": gzip.decompress, "deflate": zlib.decompress}[coding](body) if coding else body

    def parsed(self, body):
        """The document, and the bytes behind it; None: there is no word of any."""
        length, blobs = self.headers.get("Inference-Header-Content-Length"), None
        if length is not None:
            self.check("binary.refuse.header.word", not length.isdigit())
            self.check("binary.refuse.header.long", int(length) > len(body))
            body, blobs = body[:int(length)], body[int(length):]
        self.check("refuse.empty", not body)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            self.check("refuse.json.utf8", True)
        self.check("refuse.json.nan", "NaN" in text)
        self.wants_binary = blobs is not None and "binary_data_output" in text
        try:
            document = json.loads(text)
        except RecursionError:
            self.check("refuse.json.deep", True)
        except ValueError:
            if blobs is not None:
                self.check("binary.refuse.header.cut", True)
            more = text.endswith("} {}")
            self.check("refuse.json.more" if more else "refuse.json.cut", True)
        self.check("refuse.json.list", not isinstance(document, dict))
        return document, blobs

    def members(self, document):
        self.check("refuse.id.kind", not isinstance(document.get("id", ""), str))
        parameters = document.get("parameters", {})
        self.check("refuse.parameters.kind", not isinstance(parameters, dict))
        if self.on("infer.parameters.other") and any(name.startswith("conformance") for name in parameters):
            raise Refused("what is that?")
        if self.on("infer.unknown-member") and any(name.startswith("conformance") for name in document):
            raise Refused("what is that?")

    def wanted(self, model, document):
        wanted = document.get("outputs", [])
        self.check("refuse.outputs.kind", not isinstance(wanted, list))
        names = [each["name"] for each in wanted]
        self.check("refuse.outputs.unknown", not set(names) <= {each.name for each in outputs_of(model)})
        if self.on("infer.parameters.empty") and any(each.get("parameters") == {} for each in wanted):
            raise Refused("what is that?")
        return names

    def inputs(self, model, document, blobs):
        inputs, made, at = document.get("inputs"), {}, 0
        self.check("refuse.inputs.missing", inputs is None)
        self.check("refuse.inputs.kind", not isinstance(inputs, list))
        self.check("refuse.inputs.empty", not inputs)
        mixed = any("data" in each for each in inputs if isinstance(each, dict)) and blobs is not None
        if mixed and self.on("binary.mixed"):
            raise Refused("one or the other")
        declared = {each.name: each for each in MODELS[model]}
        self.check("refuse.inputs.extra", len(inputs) == len(declared) + 1 and inputs[-1].get("name") not in declared)
        for each in inputs:
            for member in ("name", "shape", "datatype"):
                self.check(f"refuse.input.no-{member}", member not in each)
            size = each.get("parameters", {}).get("binary_data_size")
            self.check("refuse.input.no-data", "data" not in each and size is None)
            self.check("refuse.inputs.unknown", each["name"] not in declared)
            self.check("refuse.inputs.twice", each["name"] in made)
            spec = declared[each["name"]]
            self.datatype(spec, each["datatype"])
            self.shape(spec, each["shape"])
            if size is None:
                data = self.json_data(spec, each)
            else:
                data = self.binary_data(spec, each["shape"], blobs, at, size)
                at += size
            made[spec.name] = Tensor(spec.name, spec.datatype, each["shape"], data)
        self.check("refuse.inputs.one-missing", len(made) < len(declared))
        self.check("binary.refuse.long", blobs is not None and at < len(blobs))
        return made

    def datatype(self, spec, datatype):
        self.check("refuse.datatype.case", datatype not in tensors.DATATYPES and datatype.upper() in tensors.DATATYPES)
        self.check("refuse.datatype.unknown", datatype not in tensors.DATATYPES)
        self.check("refuse.datatype.other", datatype != spec.datatype)

    def shape(self, spec, shape):
        self.check("refuse.shape.word", any(isinstance(size, str) for size in shape))
        self.check("refuse.shape.fraction", any(size != int(size) for size in shape))
        self.check("refuse.shape.varies", -1 in shape)
        self.check("refuse.shape.negative", min(shape) < 0)
        self.check("refuse.shape.rank", len(shape) == len(spec.shape) + 1)
        self.check("refuse.shape.overflow", tensors.count(shape) >= 2**64)
        self.check("refuse.shape.fixed", any(b not in (-1, a) for a, b in zip(shape, spec.shape)))

    def json_data(self, spec, each):
        data = each["data"]
        self.check("refuse.data.ragged", any(isinstance(row, list) for row in data) and len({len(row) for row in data}) > 1)
        data = tensors.flatten(data)
        count = tensors.count(each["shape"])
        self.check("refuse.shape.short", len(data) < count)
        self.check("refuse.shape.long", len(data) > count)
        self.check("refuse.data.null", None in data)
        self.check("refuse.data.object", any(isinstance(value, dict) for value in data))
        if tensors.is_integer(spec.datatype):
            self.check("refuse.data.range", any(isinstance(value, int) and not tensors.is_element(spec.datatype, value) for value in data))
        self.check("refuse.data.word", not all(tensors.is_element(spec.datatype, value) for value in data))
        if tensors.is_float(spec.datatype) and self.on("infer.integers-for-floats") and isinstance(data[0], int):
            raise Refused("a float has a point")
        if self.on(f"infer.datatype.{spec.datatype}") and data == tensors.extreme(spec.datatype, len(data)):
            return tensors.harmless(spec.datatype, len(data))
        return data

    def binary_data(self, spec, shape, blobs, at, size):
        self.check("binary.refuse.negative", size < 0)
        self.check("binary.refuse.short", blobs is None or at + size > len(blobs))
        try:
            data = tensors.unpack(spec.datatype, blobs[at:at + size])
        except ValueError:
            self.check("binary.refuse.element" if spec.datatype == "BYTES" else "binary.refuse.size", True)
        self.check("binary.refuse.size", len(data) != tensors.count(shape))
        if self.on("binary.datatypes") and spec.datatype in ("BYTES", "BF16") and data == [*map(as_bytes, tensors.extreme(spec.datatype, len(data)))]:
            return data[::-1]
        return data

    def says_otherwise(self, document):
        """Faults that change the one output which is no echo."""
        inputs = document["inputs"]
        return (self.on("infer.nested") and any(isinstance(each.get("data", [0])[0], list) for each in inputs)
                or self.on("infer.order") and inputs[0]["name"] != MODELS["Echo"][0].name
                or self.on("infer.keys") and next(iter(inputs[0])) == "data")

    def respond(self, model, version, document, found, binary):
        told = {"model_name": "another" if self.on("infer.response.model_name") else model,
                "model_version": 1 if self.on("infer.response.model_version") and not version else
                "1" if self.on("infer.version") else version or VERSIONS[-1], "parameters": {"took": 1}}
        if "id" in document:
            told["id"] = self.id(document["id"])
        if self.on("infer.response.parameters"):
            told["parameters"] = [1]
        asked = document.get("parameters", {}).get("binary_data_output", False)
        asked = asked and not (self.on("binary.outputs") and not binary or self.on("binary.both-ways") and binary)
        if self.on("binary.input") and binary and not any("data" in each for each in document["inputs"]) and "parameters" not in document:
            asked = True
        says = {each["name"]: each.get("parameters", {}).get("binary_data") for each in document.get("outputs", [])}
        told["outputs"], blobs = [], b""
        for each in found:
            is_binary = asked if says.get(each.name) is None else says[each.name]
            if self.on("binary.output") and not asked or self.on("binary.override") and asked:
                is_binary = asked
            told["outputs"].append(self.output(each, is_binary))
            blobs += each.binary() if is_binary else b""
        kind = "application/octet-stream" if blobs and not self.on("binary.type") else "text/plain" if self.on("infer.type") else "application/json"
        self.reply(told, kind=kind, blobs=blobs)

    def output(self, each, is_binary):
        told = {"name": each.name, "shape": list(each.shape), "datatype": each.datatype}
        if is_binary:
            return {**told, "parameters": {"binary_data_size": len(each.binary())}}
        told["data"] = [value.decode() if isinstance(value, bytes) else value for value in each.data]
        if self.on("infer.response.data") and each.datatype == "BOOL":
            told["data"] = [int(value) for value in each.data]
        if self.on("infer.response.shape") and each.name == "rows" and each.shape == [2]:
            told["shape"] = [3]
        if self.on("infer.response.outputs") and each.name == "rows":
            del told["data"]
        return told


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


# --- gRPC ---------------------------------------------------------------------------------------------------

class Grpc(Model):
    over = "grpc."

    def __init__(self, fault, pb):
        super().__init__(fault)
        self.pb, self.stumbles = pb, False

    def guard(self, answer, request, context):
        try:
            return answer(request)
        except Accepted:
            return self.pb.ModelInferResponse() if isinstance(request, self.pb.ModelInferRequest) else self.pb.ModelMetadataResponse()
        except Refused as why:
            code = grpc.StatusCode.NOT_FOUND if why.status == 404 else grpc.StatusCode.INVALID_ARGUMENT
            context.abort(grpc.StatusCode.INTERNAL if self.on("grpc.error.code") or why.status == 500 else code,
                          "" if self.on("grpc.error.words") else str(why))

    def ServerLive(self, _):
        return self.pb.ServerLiveResponse(live=not self.on("grpc.live"))

    def ServerReady(self, _):
        return self.pb.ServerReadyResponse(ready=not self.on("grpc.ready"))

    def ModelReady(self, request):
        if request.name not in MODELS:
            return self.pb.ModelReadyResponse(ready=self.on("grpc.model-ready.unknown"))
        return self.pb.ModelReadyResponse(ready=not (self.on("grpc.model-ready") and request.version == "2"))

    def ServerMetadata(self, _):
        return self.pb.ServerMetadataResponse(name="fake", version="" if self.on("grpc.server") else "1")

    def ModelMetadata(self, request):
        self.check("grpc.metadata.unknown", request.name not in MODELS, "no such model", 404)
        inputs, outputs, versions = self.metadata(request.name, "grpc.metadata")
        told = self.pb.ModelMetadataResponse(name="another" if self.on("grpc.metadata") else request.name, versions=versions, platform="fake_echo")
        for added, specs in ((told.inputs, inputs), (told.outputs, outputs)):
            for each in specs:
                added.add(name=each.name, datatype=each.datatype, shape=each.shape)
        return told

    def ModelInfer(self, request):
        if self.stumbles:
            self.stumbles = False
            raise Refused("where am I?", 500)
        if self.on("grpc.infer"):
            raise Refused("never")
        self.check("grpc.refuse.model", request.model_name not in MODELS, "no such model", 404)
        self.check("grpc.refuse.version", request.model_version not in ("", *VERSIONS), "no such version", 404)
        if request.parameters and self.on("grpc.infer.parameters"):
            raise Refused("what is that?")
        made, raw = self.inputs(request), bool(request.raw_input_contents)
        wanted = [each.name for each in request.outputs]
        known = {each.name for each in outputs_of(request.model_name)}
        self.stumbles = self.on("grpc.survived") and not set(wanted) <= known
        self.check("grpc.refuse.output", not set(wanted) <= known)
        if self.on("grpc.infer.outputs") and wanted == ["out_FP32"]:
            wanted = ["rows"]
        found = self.answer(request.model_name, made, wanted)
        if (self.on("grpc.infer.same") or self.on("grpc.infer.typed") and not raw) and found[-1].name == "rows":
            found[-1].data = [7] * len(found[-1].data)
        return self.response(request, found, raw and not self.on("grpc.infer.mirrored"))

    def inputs(self, request):
        made, raw = {}, request.raw_input_contents
        declared = {each.name: each for each in MODELS[request.model_name]}
        typed = any(each.contents.ListFields() for each in request.inputs)
        self.check("grpc.refuse.no-inputs", not request.inputs)
        self.check("grpc.refuse.both", raw and typed)
        self.check("grpc.refuse.raw.fewer", raw and len(raw) < len(request.inputs))
        self.check("grpc.refuse.raw.more", len(raw) > len(request.inputs))
        for i, each in enumerate(request.inputs):
            self.check("grpc.refuse.input-unknown", each.name not in declared)
            self.check("grpc.refuse.datatype", each.datatype != declared[each.name].datatype)
            self.check("grpc.refuse.shape.negative", min(each.shape) < 0)
            count = tensors.count(each.shape)
            if raw:
                data = tensors.unpack(each.datatype, raw[i])
                self.check("grpc.refuse.shape", len(data) != count)
            else:
                data = list(getattr(each.contents, FIELDS[each.datatype]))
                self.check("grpc.refuse.field", not data)
                self.check("grpc.refuse.shape.typed", len(data) != count)
            fault = "grpc.infer.datatypes" if raw else "grpc.infer.datatypes.typed"
            if self.on(fault) and each.datatype == "BYTES" and any(len(value) > LONG for value in data):
                data = [b"cut"] * len(data)
            made[each.name] = Tensor(each.name, each.datatype, list(each.shape), data)
        self.check("grpc.refuse.input-missing", len(made) < len(declared))
        return made

    def response(self, request, found, raw):
        version = "" if self.on("grpc.infer.version") else request.model_version or VERSIONS[-1]
        told = self.pb.ModelInferResponse(model_name="another" if self.on("grpc.infer.model_name") else request.model_name, model_version=version,
                                          id=self.id(request.id))
        for each in found:
            shape = [3] if self.on("grpc.infer.size") and each.name == "rows" else each.shape
            added = told.outputs.add(name=each.name, datatype=each.datatype, shape=shape)
            if raw:
                told.raw_output_contents.append(each.binary())
            if not raw or self.on("grpc.infer.contents"):
                getattr(added.contents, FIELDS[each.datatype]).extend([as_bytes(value) for value in each.data])
        return told


# --- both -----------------------------------------------------------------------------------------------------

class WrongServer:
    def __init__(self, fault=None):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Rest, fault))
        self.http.daemon_threads = True
        self.rpc = grpc.server(futures.ThreadPoolExecutor(4))
        pb = grpc.protos("oip.proto")
        answers = Grpc(fault, pb)
        handlers = {name: grpc.unary_unary_rpc_method_handler(functools.partial(answers.guard, getattr(answers, name)),
                                                              getattr(pb, f"{name}Request").FromString, lambda message: message.SerializeToString())
                    for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")}
        self.rpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)])
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.grpc = f"127.0.0.1:{self.rpc.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.rpc.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
        self.rpc.stop(0).wait()
