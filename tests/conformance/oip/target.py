"""Target: the server under test, what it told of its model, and requests that it has to answer."""
import functools
import urllib.parse

from . import tensors
from .clauses import Failed, NotApplicable, expect, not_applicable
from .tensors import Spec, Tensor
from .wire import Wire

NOBODY = "conformance-no-such-model"
NO_VERSION = "conformance-no-such-version"


class Target:
    def __init__(self, url, model, rpc=None, inputs=(), extensions=(), timeout=10.0):
        """inputs: Specs to go by instead of the metadata's. extensions: that the server has, listed or not. rpc: an Rpc, or None."""
        self.transcript, self.refusals, self.rpc_refusals = [], [], []
        self.wire = Wire(url, timeout, self.transcript) if url else None
        self.url, self.model, self.rpc = url, model, rpc
        self._given, self._has = tuple(inputs), list(extensions)
        if rpc:
            rpc.transcript = self.transcript

    # --- REST: asking ------------------------------------------------------------------------------------

    def ask(self, method, path, body=None, headers=(), **more):
        if not self.wire:
            not_applicable("no --url was given")
        return self.wire.ask(method, path, body, headers, **more)

    def path(self, verb="", version=None, model=None):
        path = f"v2/models/{urllib.parse.quote(self.model if model is None else model, safe='')}"
        if version is not None:
            path += f"/versions/{urllib.parse.quote(version, safe='')}"
        return f"{path}/{verb}" if verb else path

    def infer(self, document, headers=(), version=None, **more):
        return self.ask("POST", self.path("infer", version), document, headers, **more)

    # --- REST: what it told --------------------------------------------------------------------------------

    @functools.cached_property
    def told(self):
        """The model's metadata; {} where there is none to be had."""
        return self._object(self.path())

    @functools.cached_property
    def extensions(self):
        extensions = self._object("v2").get("extensions")
        return self._has + (extensions if isinstance(extensions, list) else [])

    def _object(self, path):
        try:
            answer = self.ask("GET", path)
            return answer.object() if answer.status == 200 else {}
        except (Failed, NotApplicable):
            return {}

    @functools.cached_property
    def inputs(self):
        """Specs of the model's inputs."""
        if self._given:
            return list(self._given)
        told = specs(self.told.get("inputs"))
        if not told and self.rpc:
            told = self.rpc.input_specs(self.model)
        return told or not_applicable("metadata tells of no inputs (--input NAME:DATATYPE:SHAPE would)")

    @functools.cached_property
    def outputs(self):
        return specs(self.told.get("outputs"))

    @property
    def versions(self):
        versions = self.told.get("versions")
        versions = [each for each in versions if isinstance(each, str)] if isinstance(versions, list) else []
        return versions or not_applicable("metadata offers no versions")

    def spec(self, *datatypes):
        """The first input of one of these datatypes."""
        for each in self.inputs:
            if each.datatype in datatypes:
                return each
        return not_applicable(f"no input is of {' or '.join(datatypes)}")

    # --- requests that must work -----------------------------------------------------------------------------

    def tensors(self, rows=2, seed=0, values=tensors.harmless):
        made = []
        for i, spec in enumerate(self.inputs):
            shape = spec.sized(rows)
            data = values(spec.datatype, tensors.count(shape), *([seed + 7 * i] if values is tensors.harmless else []))
            made.append(Tensor(spec.name, spec.datatype, shape, data))
        return made

    def document(self, rows=2, seed=0, **more):
        """A valid request."""
        return {"inputs": [each.rest() for each in self.tensors(rows, seed)], **more}

    @functools.cached_property
    def has_halves(self):
        return any(spec.datatype in tensors.HALVES for spec in self.inputs)

    @functools.cached_property
    def _base(self):
        """What came of the plainest request: an Answer, or the words for why there is none."""
        try:
            return self.infer(self.document())
        except Failed as why:
            return why

    @property
    def base(self):
        """The Answer to a valid request, which all clauses that vary one rest on."""
        self.inputs
        if isinstance(self._base, Failed) or self._base.status != 200:
            not_applicable("no plain request is answered: see infer.status")
        return self._base

    @functools.cached_property
    def is_deterministic(self):
        return outputs_of(self.infer(self.document())) == outputs_of(self.base)

    @functools.cached_property
    def echoes(self):
        """{output: input} of those that give back what they were given."""
        found = None
        for seed in (0, 5):
            given = {each.name: each for each in self.tensors(seed=seed)}
            came = {each.name: each for each in outputs_of(self.infer(self.document(seed=seed)))}
            pairs = {(out, name) for out in came for name in given
                     if came[out].datatype == given[name].datatype and came[out].shape == given[name].shape
                     and same_data(given[name].datatype, came[out].data, given[name].data)}
            found = pairs if found is None else found & pairs
        return dict(sorted(found, reverse=True))

    def expect_same(self, answer, rows=2):
        """That this answer is that of the base request, as far as the model is one that answers alike twice."""
        expect(answer.status == 200, f"expected 200, got {answer.status}")
        expect_alike(outputs_of(answer), outputs_of(self.base), self.is_deterministic)


def expect_alike(mine, theirs, with_data):
    expect([(each.name, each.datatype, each.shape) for each in mine] == [(each.name, each.datatype, each.shape) for each in theirs],
           "the outputs are other ones than those of the plain request")
    if with_data:
        for a, b in zip(mine, theirs):
            expect(same_data(a.datatype, a.data, b.data), f"output {a.name}: other data than in the answer to the plain request")


def same_data(datatype, a, b):
    try:
        return tensors.rounded(datatype, a) == tensors.rounded(datatype, b)
    except Exception:
        return a == b


def specs(told):
    """Metadata's tensors; none where one of them cannot be made sense of."""
    try:
        found = [Spec(each["name"], each["datatype"], tuple(int(size) for size in each["shape"])) for each in told]
    except (TypeError, KeyError, ValueError):
        return []
    return found if all(each.datatype in tensors.DATATYPES for each in found) else []


def outputs_of(answer):
    """The response's outputs with their data in JSON; Failed where there is no making sense of them."""
    outputs = answer.object().get("outputs")
    expect(isinstance(outputs, list), "the response has no list of outputs")
    try:
        return [Tensor(each["name"], each["datatype"], each["shape"], tensors.flatten(each["data"])) for each in outputs]
    except (TypeError, KeyError) as why:
        raise NotApplicable(f"the outputs lack {why}: see infer.response.outputs") from None
