"""gRPC when things go wrong: messages that lie, calls given up, replicas gone, too much asked; and what a rollout does with calls."""
import collections
import gzip
import os
import struct
import zlib

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.oip_grpc import (CODE, REFLECTION, SERVICE, answered, framed, h2_packages, pb, question, raw_call,  # noqa: F401: fixtures among them
                                    stub, wire)
from xebec_testing.patience import PATIENCE, wait_until

ONE_AT_A_TIME = {"batching": {"policy": "none", "calls": 1}, "health": {"interval": "30s", "timeout": "30s"}}
LIST_SERVICES = b"\x3a\x01*"


def grew_at_most(mib, before, after):
    """Sanitizers keep what is freed."""
    return bool(os.environ.get("XEBEC_SANITIZE")) or after < before + mib


@pytest.fixture
def message(pb):
    return question(pb).SerializeToString()


# --- messages --------------------------------------------------------------------------------------------

def said_in_pieces(wire, gateway, message, pieces, **headers):
    call = wire(gateway)
    stream = call.begin(**headers)
    for piece in pieces(framed(message)):
        call.say(stream, piece, end=False)
    call.say(stream, b"")
    return call.told(stream)


@pytest.mark.parametrize("pieces", [
    lambda body: [body[i:i + 1] for i in range(len(body))], lambda body: [b"", b"", body, b""], lambda body: [body[:3], b"", body[3:5], b"", body[5:]]],
    ids=["byte by byte", "with nothing around", "cut in the prefix"])
def test_frames_are_not_messages(puppet, gateway_for, wire, message, pieces):
    assert said_in_pieces(wire, gateway_for(puppet), message, pieces).status == "0"


def test_padding_is_no_part_of_it(puppet, gateway_for, wire, message):
    call = wire(gateway_for(puppet))
    stream = call.begin()
    call.say(stream, framed(message)[:7], end=False, pad_length=200)
    call.say(stream, framed(message)[7:], pad_length=0)
    assert call.told(stream).status == "0"


def test_a_flood_of_nothing_ends_the_connection(puppet, gateway_for, wire):
    gateway = gateway_for(puppet, limits={"controls": 50})
    call = wire(gateway)
    stream = call.begin()
    with pytest.raises((ConnectionError, AssertionError)):
        for _ in range(10000):
            call.say(stream, b"", end=False)
        call.told(stream)
    gateway.wait_metric(1, "xebec_http_errors_total", listener="clients", cause="overloaded")
    assert gateway.predict(input=[1]).status == 200


@pytest.mark.parametrize("claims", [1, 5, 1 << 16, (16 << 20) + 1, (1 << 31) - 1, (1 << 32) - 1])
def test_a_length_that_lies_costs_no_memory(puppet, gateway_for, wire, message, claims):
    gateway = gateway_for(puppet)
    before = gateway.resident_mib()
    for _ in range(20):
        told = wire(gateway).call(b"\0" + struct.pack(">I", claims) + message)
        assert told.status == "3" and told.headers["grpc-message"]
    assert grew_at_most(8, before, gateway.resident_mib()) and puppet.calls() == []


def test_half_a_message_is_waited_for_as_long_as_any_body(puppet, gateway_for, wire, message):
    call = wire(gateway_for(puppet, timeouts={"body": "300ms"}))
    half = call.begin()
    call.say(half, framed(message)[:-4], end=False)
    assert call.call(framed(message)).status == "0", "others go on"
    told = call.told(half)
    assert told.status == "4" and "grpc-message" in told.headers
    assert call.call(framed(message)).status == "0"


def test_trailers_of_the_client_are_dropped(puppet, gateway_for, wire, message):
    call = wire(gateway_for(puppet))
    stream = call.begin()
    call.say(stream, framed(message), end=False)
    call.end_with_trailers(stream, [("grpc-status", "13"), ("x-xebec-deadline-ms", "soon"), ("checksum-bin", "AAAA")])
    assert call.told(stream).status == "0"


@pytest.mark.parametrize("kind", ["application/grpc-web", "application/grpc-web+proto", "application/grpcs", "application/grp", "text/plain", "", None])
def test_other_content_types(puppet, gateway_for, raw_call, message, kind):
    told = raw_call(gateway_for(puppet), framed(message), content_type=kind)
    assert told.headers[":status"] == "415" and "application/grpc" in told.body.decode() and not told.status
    assert puppet.calls() == []


@pytest.mark.parametrize("coding, code", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_content_encoding_is_not_grpcs(puppet, gateway_for, raw_call, message, coding, code):
    """A message has its own: HTTP's says nothing of it, be it true or not."""
    gateway = gateway_for(puppet)
    assert raw_call(gateway, framed(message), content_encoding=coding).status == "0"
    assert raw_call(gateway, code(framed(message)), content_encoding=coding).status == "3"
    assert raw_call(gateway, framed(code(message)), content_encoding=coding).status == "3"
    assert raw_call(gateway, framed(code(message), 1), content_encoding=coding, grpc_encoding=coding).status == "0"


def test_many_bombs_at_once_are_held_to_the_limit(puppet, gateway_for, wire):
    """Each would be 8 MiB, twice what a message may be."""
    gateway = gateway_for(puppet, limits={"body": "4MiB", "held": "12MiB"})
    bomb = framed(gzip.compress(b"\x1a" + b"\0" * (8 << 20)), 1)
    call, before = wire(gateway), gateway.resident_mib()
    streams = [call.begin(grpc_encoding="gzip") for _ in range(20)]
    for stream in streams:
        call.say(stream, bomb[:100], end=False)
    for stream in streams:
        call.say(stream, bomb[100:])
    assert {call.told(stream).status for stream in streams} == {"8"}
    assert grew_at_most(24, before, gateway.resident_most_mib())
    gateway.wait_metric(0, "xebec_requests_open")


# --- metadata --------------------------------------------------------------------------------------------

def test_binary_metadata_is_passed_over(puppet, gateway_for, stub, pb, raw_call, message):
    gateway = gateway_for(puppet)
    assert answered(stub(gateway).infer(question(pb), metadata=[("blob-bin", bytes(range(256))), ("empty-bin", b"")])) == [1, 2]
    for value in ("not base64!", "AA=A", "", "A" * 4000, "AAAA, BBBB"):
        assert raw_call(gateway, framed(message), also=[("trace-bin", value)]).status == "0", value


def test_too_much_metadata(puppet, gateway_for, wire, stub, pb, message):
    gateway = gateway_for(puppet)
    call = wire(gateway)
    for also in ([("blob-bin", "A" * 30000)], [(f"x-{i}", "y") for i in range(200)]):
        told = call.told(call.begin(also=also, end=True))
        assert told.status == "8" and told.headers[":status"] == "200" and "header" in told.headers["grpc-message"]
    assert call.call(framed(message)).status == "0", "the connection goes on"
    assert stub(gateway).refusal(question(pb), metadata=[("blob-bin", b"\0" * 30000)])[0] == CODE.RESOURCE_EXHAUSTED


def test_a_deadline_that_has_passed(puppet, gateway_for, raw_call, message):
    told = raw_call(gateway_for(puppet, cache={"memory": "8MiB"}), framed(message), grpc_timeout="0n")
    assert told.status == "4" and puppet.calls() == []


# --- reflection ------------------------------------------------------------------------------------------

def test_thousands_of_reflection_requests(puppet, gateway_for, wire):
    gateway = gateway_for(puppet, shards=1)
    call = wire(gateway)

    def ask(count):
        for _ in range(count // 50):
            streams = [call.begin(REFLECTION) for _ in range(50)]
            for stream in streams:
                call.say(stream, framed(LIST_SERVICES))
            for stream in streams:
                told = call.told(stream)
                assert told.status == "0" and b"inference.GRPCInferenceService" in told.body
                del call.streams[stream]
    ask(500)
    before = gateway.resident_mib()
    ask(2500)
    assert grew_at_most(8, before, gateway.resident_mib())


def test_of_a_reflection_stream_the_first_message_is_answered(puppet, gateway_for, wire, message):
    call = wire(gateway_for(puppet))
    stream = call.begin(REFLECTION)
    call.say(stream, framed(LIST_SERVICES) * 500, end=False)
    told = call.told(stream)
    assert told.trailers == {"grpc-status": "0"} and told.body.count(b"inference.GRPCInferenceService") == 1
    assert call.call(framed(message)).status == "0", "the connection goes on"


def test_reflection_of_what_is_not_there(puppet, gateway_for, wire):
    call = wire(gateway_for(puppet))
    for asked in (b"\x1a\x04x.pb", b"\x22\x00", b"\x22" + bytes([100]) + b"a." * 50, b"\x2a\x02\x0a\x00", b"\x32\x01x"):
        told = call.call(framed(asked), REFLECTION)
        assert told.status == "0" and b"\x08\x05" in told.body, "NOT_FOUND, in its own words"


# --- calls that nobody waits for any more ----------------------------------------------------------------

@pytest.fixture
def busy(puppet, gateway_for, stub, pb):
    """(gateway, stub, the call that the only replica is stalled by): what comes now is queued."""
    gateway = gateway_for(puppet.play(mode="stall", times=1), shards=1, slo="60s", model=ONE_AT_A_TIME)
    ask = stub(gateway)
    running = ask.begin(question(pb, [(-1.0, 0.0)]))
    puppet.wait_calls(1)
    yield gateway, ask, running
    puppet.release()


def queue(gateway, ask, pb, number, rows, **more):
    call = ask.begin(question(pb, [(float(number), 0.0)]), **more)
    gateway.wait_metric(rows, "xebec_queue_rows")
    return call


def test_a_queued_call_that_is_cancelled_is_recalled(busy, puppet, pb):
    gateway, ask, running = busy
    calls = [queue(gateway, ask, pb, number, number) for number in (1, 2, 3)]
    calls[1].cancel()
    gateway.wait_metric(2, "xebec_queue_rows")
    gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
    puppet.release()
    assert [answered(call.result(PATIENCE))[0] for call in (running, calls[0], calls[2])] == [-1, 1, 3]
    assert puppet.rows_seen() == [-1, 1, 3], "the model has never seen it"
    gateway.wait_metric(0, "xebec_requests_open")


def test_a_running_call_that_is_cancelled_is_cancelled_at_the_replica(busy, puppet):
    gateway, _, running = busy
    running.cancel()
    wait_until(lambda: puppet.calls()[0]["ended"] == "cancelled", "the replica to hear of it")
    gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
    gateway.wait_metric(0, "xebec_requests_open")


def test_a_client_that_hangs_up_cancels_all_it_asked(busy, puppet, wire, pb):
    gateway, _, running = busy
    call = wire(gateway)
    for number in range(1, 11):
        call.say(call.begin(), framed(question(pb, [(float(number), 0.0)]).SerializeToString()))
    gateway.wait_metric(10, "xebec_queue_rows")
    call.socket.close()
    gateway.wait_metric(0, "xebec_queue_rows")
    gateway.wait_metric(10, "xebec_requests_total", outcome="cancelled")
    puppet.release()
    assert answered(running.result(PATIENCE))[0] == -1 and puppet.rows_seen() == [-1]


@pytest.mark.parametrize("more", [{"timeout": 0.3}, {"metadata": [("x-xebec-deadline-ms", "300")]}], ids=["grpc-timeout", "x-xebec-deadline-ms"])
def test_a_deadline_passes_in_the_queue(busy, puppet, pb, more):
    gateway, ask, running = busy
    late = queue(gateway, ask, pb, 1, 1, **more)
    assert late.code() == CODE.DEADLINE_EXCEEDED
    gateway.wait_metric(0, "xebec_queue_rows")
    puppet.release()
    assert answered(running.result(PATIENCE))[0] == -1 and puppet.rows_seen() == [-1]


# --- replicas that are gone, and too few -----------------------------------------------------------------

def test_a_replica_is_killed_while_its_call_waits(new_puppet, gateway_for, stub, pb):
    """Its call is sent again, to the other one; and with that gone, too, the client is told to come again."""
    puppets = new_puppet(mode="stall"), new_puppet(mode="stall")
    gateway = gateway_for(*puppets, endpoint={"when_unready": "fail"})
    ask = stub(gateway, options=[("grpc.enable_retries", 0)])
    call = ask.begin(question(pb))
    first, = wait_until(lambda: [each for each in puppets if each.calls()], "a replica to have it")
    second, = {*puppets} - {first}
    first.kill()
    second.wait_calls(1)
    second.play()
    second.release()
    assert answered(call.result(PATIENCE)) == [1, 2]
    second.play(mode="stall")
    call = ask.begin(question(pb))
    wait_until(lambda: len(second.calls()) > 1, "the call")
    second.kill()
    assert call.code() == CODE.UNAVAILABLE and call.details()
    gateway.wait_metric(0, "xebec_requests_open")


def test_no_replica(puppet, gateway_for, stub, pb):
    gateway = gateway_for(puppet, endpoint={"when_unready": "fail"})
    puppet.kill()
    wait_until(lambda: gateway.ask_admin("/health/ready").status != 200, "not to be ready")
    call = stub(gateway, options=[("grpc.enable_retries", 0)]).begin(question(pb))
    assert call.code() == CODE.UNAVAILABLE and "no replica" in call.details()
    assert dict(call.trailing_metadata())["retry-after"] == "1"


def test_a_full_queue(puppet, gateway_for, stub, pb):
    gateway = gateway_for(puppet.play(mode="stall", times=1), shards=1, slo="60s",
                          model={**ONE_AT_A_TIME, "batching": {"policy": "none", "calls": 1, "max_queued_rows": 2}})
    ask = stub(gateway)
    running = ask.begin(question(pb, [(-1.0, 0.0)]))
    puppet.wait_calls(1)
    calls = [queue(gateway, ask, pb, number, number) for number in (1, 2)]
    refused = ask.begin(question(pb, [(3.0, 0.0)]))
    assert refused.code() == CODE.RESOURCE_EXHAUSTED and refused.details()
    assert int(dict(refused.trailing_metadata())["retry-after"]) >= 1
    urgent = ask.begin(question(pb, [(4.0, 0.0)]), metadata=[("x-xebec-priority", "high")])
    assert calls[1].code() == CODE.RESOURCE_EXHAUSTED, "the newest of a lower priority gives way"
    puppet.release()
    assert [answered(call.result(PATIENCE))[0] for call in (running, calls[0], urgent)] == [-1, 1, 4]
    assert puppet.rows_seen() == [-1, 4, 1]


# --- what a rollout does with calls ----------------------------------------------------------------------

@pytest.fixture
def two(new_puppet):
    return new_puppet(), new_puppet(version="v2")


def two_versions(two, **endpoint):
    config = one_model([two[0].unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [two[1].unix]}
    config["endpoints"]["e"] = {"slo": "30s", **endpoint}
    return config


SPLIT = [{"model": "m@v1", "weight": 50}, {"model": "m@v2", "weight": 50}]


def test_a_split_and_who_sticks_to_an_arm(two, start_gateway, stub, pb):
    ask = stub(start_gateway(two_versions(two, split=SPLIT, sticky={"header": "x-user"})).wait_ready())
    arm_of = {}
    for user in [f"u{i}" for i in range(40)] * 2:
        reply, metadata = ask.metadata_of(question(pb), metadata=[("x-user", user)])
        assert metadata["x-xebec-version"] == metadata["x-xebec-arm"] == f"m@{reply.model_version}"
        assert arm_of.setdefault(user, reply.model_version) == reply.model_version
    assert set(arm_of.values()) == {"v1", "v2"}


def test_who_is_told_by_a_parameter_sticks_as_over_rest(two, start_gateway, stub, pb):
    gateway = start_gateway(two_versions(two, split=SPLIT, sticky={"field": "user"})).wait_ready()
    ask = stub(gateway)
    for user in range(40):
        message = question(pb)
        message.parameters["user"].int64_param = user
        assert f"m@{ask.infer(message).model_version}" == gateway.predict(input=[1, 2], user=user).headers["x-xebec-arm"]
        message.parameters["user"].string_param = str(user)
        assert f"m@{ask.infer(message).model_version}" == gateway.predict(input=[1, 2], user=str(user)).headers["x-xebec-arm"]


def test_a_canary_counts_calls(two, start_gateway, stub, pb):
    canary = {"baseline": "m@v1", "candidate": "m@v2", "steps": ["50%", "100%"], "dwell": "60s", "gates": {"latency": False}}
    gateway = start_gateway(two_versions(two, canary=canary)).wait_ready()
    wait_until(lambda: gateway.metrics().sum("xebec_arm_buckets", endpoint="e", arm="m@v2") > 4000, "the candidate to have its half")
    ask, came = stub(gateway), collections.Counter()
    for _ in range(60):
        came[ask.metadata_of(question(pb))[1]["x-xebec-arm"]] += 1
    assert set(came) == {"m@v1", "m@v2"}
    for arm, count in came.items():
        gateway.wait_metric(count, "xebec_arm_requests_total", endpoint="e", arm=arm, outcome="ok")
    two[1].play(mode="raise_rows", bad=1.0, words="no")
    codes = collections.Counter()
    for _ in range(30):
        call = ask.begin(question(pb))
        codes[call.code()] += 1
    assert set(codes) == {CODE.OK, CODE.UNKNOWN}
    gateway.wait_metric(codes[CODE.UNKNOWN], "xebec_arm_requests_total", endpoint="e", arm="m@v2", outcome="model_error")


def test_a_shadow_is_asked_what_calls_ask(two, start_gateway, stub, pb):
    gateway = start_gateway(two_versions(two, model="m@v1", shadow=[{"model": "m@v2", "noise": "0%"}])).wait_ready()
    ask = stub(gateway)
    for number in range(20):
        reply, metadata = ask.metadata_of(question(pb, [(float(number), 0.5)], raw=number % 2 == 0))
        assert metadata["x-xebec-version"] == "m@v1"
    gateway.wait_metric(20, "xebec_shadow_rows_total")
    assert sorted(two[1].rows_seen()) == list(range(20))
    shadow, = gateway.ask_admin("/shadows/e").json()["shadows"]
    assert {outcome: count for outcome, count in shadow["outcomes"].items() if count} == {"agrees": 20}


def test_a_call_that_is_answered_from_the_cache_asks_nobody(puppet, gateway_for, stub, pb):
    gateway = gateway_for(puppet, cache={"memory": "8MiB"})
    ask = stub(gateway)
    assert answered(ask.infer(question(pb, [(1.0, 2.0), (3.0, 4.0)]))) == [1, 2, 3, 4]
    puppet.play(mode="stall")
    for raw in (True, False):
        reply = ask.infer(question(pb, [(3.0, 4.0), (1.0, 2.0)], raw=raw))
        assert (answered(reply) if raw else list(reply.outputs[0].contents.fp32_contents)) == [3, 4, 1, 2]
    assert sorted(puppet.rows_seen()) == [1, 3]
    puppet.release()
