"""REST: the HTTP below it: methods, content negotiation, bodies of every framing, lengths that lie."""
import gzip
import json
import zlib

from .clauses import HTTP, MUST, PRACTICE, REST, SHOULD, NotApplicable, clause, expect, not_applicable
from .rest import get_or_skip
from .wire import Answer, gunzip


@clause("http.get-infer", MUST, f"{REST}, Inference", "inference is asked for with POST: GET is no inference")
def _(t):
    expect(t.ask("GET", t.path("infer")).status >= 400, "GET is answered as if it were one")


@clause("http.method", SHOULD, f"{HTTP}, 405 Method Not Allowed", "a method that a path does not take is answered 405")
def _(t):
    t.base
    for method, path in (("DELETE", t.path("infer")), ("POST", t.path()), ("DELETE", t.path()), ("PUT", "v2/health/live")):
        status = t.ask(method, path, b"{}" if method in ("POST", "PUT") else None).status
        expect(status == 405, f"{method} {path}: {status}")


@clause("http.allow", SHOULD, f"{HTTP}, 405 Method Not Allowed", "405 comes with Allow, which names the methods that there are")
def _(t):
    answer = t.ask("GET", t.path("infer"))
    if answer.status != 405:
        not_applicable(f"answered {answer.status}: see http.method")
    expect("POST" in answer.headers.get("allow", ""), f"Allow is {answer.headers.get('allow')!r}")


@clause("http.head", SHOULD, f"{HTTP}, HEAD", "HEAD is answered as GET is, without the body")
def _(t):
    get_or_skip(t, "v2/health/live", "health.live")
    answer = t.ask("HEAD", "v2/health/live")
    expect(answer.status == 200, f"expected 200, got {answer.status}")
    expect(answer.body == b"", "there is a body")


@clause("http.path", SHOULD, f"{HTTP}, 404 Not Found", "a path that the protocol does not have is answered 404")
def _(t):
    t.base
    for path in ("v2/conformance-no-such-path", t.path("conformance-no-such-verb")):
        status = t.ask("GET", path).status
        expect(status == 404, f"GET {path}: {status}")


@clause("http.unknown-is-404", SHOULD, PRACTICE, "a model or a version that is not there is answered 404, so that it is told from a bad request")
def _(t):
    t.base
    paths = [t.path(model="conformance-no-such-model")]
    try:
        t.versions
        paths.append(t.path(version="conformance-no-such-version"))
    except NotApplicable:
        pass
    for path in paths:
        status = t.ask("GET", path).status
        expect(status < 400 or status == 404, f"GET {path}: {status}")


@clause("http.charset", MUST, "RFC 8259, section 11", "application/json; charset=utf-8 is application/json")
def _(t):
    t.base
    t.expect_same(t.infer(t.document(), {"Content-Type": "application/json; charset=utf-8"}))


@clause("http.no-type", SHOULD, PRACTICE, "a body that does not say its type is taken for what it has to be")
def _(t):
    t.base
    t.expect_same(t.infer(t.document(), {"Content-Type": None}))


@clause("http.accept", MUST, f"{HTTP}, Accept", "whoever accepts application/json, or everything, gets it")
def _(t):
    t.base
    for accept in ("application/json", "*/*", "text/html;q=0.5, application/json"):
        t.expect_same(t.infer(t.document(), {"Accept": accept}))


@clause("http.identity", MUST, f"{HTTP}, Accept-Encoding", "whoever accepts no coding gets none, of a large response neither")
def _(t):
    t.base
    answer = t.infer(large(t), {"Accept-Encoding": "identity"})
    expect(answer.headers.get("content-encoding", "identity") == "identity", f"Content-Encoding is {answer.headers.get('content-encoding')}")


@clause("http.gzip", MUST, f"{HTTP}, Accept-Encoding", "whoever accepts gzip gets gzip, or no coding, and says which; the same comes out")
def _(t):
    t.base
    plain = t.infer(large(t))
    answer = t.infer(large(t), {"Accept-Encoding": "gzip"})
    expect(answer.status == plain.status, f"expected {plain.status}, got {answer.status}")
    coding = answer.headers.get("content-encoding", "identity")
    expect(coding in ("gzip", "identity"), f"Content-Encoding is {coding}")
    body = gunzip(answer.body) if coding == "gzip" else answer.body
    if t.is_deterministic:
        expect(outputs(body) == outputs(plain.body), "other outputs came out")


def large(t):
    return t.document(rows=400 if all(each.is_batched for each in t.inputs) else 2)


def outputs(body):
    return Answer(200, {}, body).object().get("outputs")


@clause("http.gzip-request", SHOULD, f"{HTTP}, Content-Encoding", "a body in gzip or deflate is understood, or refused with 415")
def _(t):
    t.base
    data = json.dumps(t.document()).encode()
    for coding, body in (("gzip", gzip.compress(data)), ("deflate", zlib.compress(data))):
        answer = t.infer(body, {"Content-Encoding": coding})
        if answer.status == 415:
            continue
        expect(answer.status == 200, f"{coding}: {answer.status}")
        t.expect_same(answer)


@clause("http.chunked", MUST, f"{HTTP}, Chunked Transfer Coding", "a body in chunks is a body")
def _(t):
    t.base
    t.expect_same(t.infer(t.document(), chunked=True))


@clause("http.keep-alive", SHOULD, f"{HTTP}, Persistence", "one connection carries several exchanges, refusals among them")
def _(t):
    t.base
    connection = t.wire.connect()
    try:
        t.expect_same(t.wire.ask_on(connection, "POST", t.path("infer"), t.document()))
        socket = connection.sock
        t.wire.ask_on(connection, "POST", t.path("infer"), {})
        t.expect_same(t.wire.ask_on(connection, "POST", t.path("infer"), t.document()))
        expect(socket is not None and connection.sock is socket, "the server closed the connection")
    finally:
        connection.close()


@clause("http.length-long", MUST, f"{HTTP}, Content-Length", "a body that ends before its Content-Length is no request: refused, or closed")
def _(t):
    t.base
    body = json.dumps(t.document()).encode()
    answer = t.wire.send_raw("POST", t.path("infer"), body, {"Content-Type": "application/json", "Content-Length": len(body) + 10}, then_close=True)
    expect(answer is None or answer.status >= 400, "it was answered as if it were whole")


@clause("http.length-short", MUST, f"{HTTP}, Content-Length", "a body ends where its Content-Length says, whatever comes behind it")
def _(t):
    t.base
    body = json.dumps(t.document()).encode()
    headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
    answer = t.wire.send_raw("POST", t.path("infer"), body + b"x" * 10, headers, then_close=False)
    expect(answer is not None, "the connection was closed without an answer")
    t.expect_same(answer)


@clause("http.length-bad", MUST, f"{HTTP}, Message Body Length", "a Content-Length that is no number is refused, or the connection closed")
def _(t):
    t.base
    body = json.dumps(t.document()).encode()
    headers = {"Content-Type": "application/json", "Content-Length": "many", "Connection": "close"}
    answer = t.wire.send_raw("POST", t.path("infer"), body, headers, then_close=True)
    expect(answer is None or answer.status >= 400, "it was answered")
