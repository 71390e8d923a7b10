"""The C worker SDK, asked by Python's gRPC and protobuf: worker_test.py BIN_DIR PROTO_DIR PICKY_WORKER LATE_CALL"""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc

BIN, PROTO, PICKY, LATE_CALL = sys.argv[1:5]
GENERATED = tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"--python_out={GENERATED.name}", "-I", PROTO, "worker.proto", "health.proto"], check=True)
sys.path.insert(0, GENERATED.name)
import health_pb2 as health  # noqa: E402
import worker_pb2 as worker  # noqa: E402

WORKER, HEALTH = "/xebec.worker.v1.Worker/", "/grpc.health.v1.Health/"
DEADLINE = 20


class Worker:
    """A worker process and a channel to it."""

    def __init__(self, *argv, wait=True, **environment):
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        self.first_line = self.process.stderr.readline()
        found = re.search(r"serves at (\S+)$", self.first_line)
        self.address = found and found.group(1)
        # what gRPC core says of itself must not fill the pipe
        self.rest = []
        self.drain = threading.Thread(target=lambda: self.rest.extend(self.process.stderr), daemon=True)
        self.drain.start()
        if self.address:
            self.channel = grpc.insecure_channel(
                self.address, [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1),
                               ("grpc.max_receive_message_length", -1)])
            if wait:
                grpc.channel_ready_future(self.channel).result(DEADLINE)

    def call(self, method, request, reply, service=WORKER):
        rpc = self.channel.unary_unary(
            service + method, request_serializer=lambda r: r if isinstance(r, bytes) else r.SerializeToString(),
            response_deserializer=reply.FromString)
        return rpc.future(request, timeout=DEADLINE)

    def predict(self, request):
        return self.call("Predict", request, worker.PredictResponse)

    def check(self, service=""):
        return self.call("Check", health.HealthCheckRequest(service=service), health.HealthCheckResponse, HEALTH)

    def stop(self, how=signal.SIGTERM):
        if self.address:
            self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(DEADLINE)
        self.drain.join()
        self.process.stderr.close()
        return code


def floats(rows, columns, name="x", values=None):
    values = values if values is not None else range(rows * columns)
    request = worker.PredictRequest(id=5, data=[struct.pack(f"<{rows * columns}f", *values)])
    request.inputs.add(name=name, datatype=worker.FP32, shape=[rows, columns])
    return request


def text(*items):
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


class WorkerCase(unittest.TestCase):
    argv = ()

    def setUp(self):
        self.worker = Worker(*self.argv)
        self.addCleanup(self.worker.stop)

    def refused(self, call, code, words):
        with self.assertRaises(grpc.RpcError) as caught:
            call.result()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertEqual(caught.exception.details(), words)


class Noop(WorkerCase):
    argv = (f"{BIN}/xebec-noop", "--listen", "127.0.0.1:0", "--model", "m", "--version", "v",
            "--max-rows", "8", "--digest", "sha256:0")

    def test_describes_itself(self):
        said = self.worker.call("Describe", worker.DescribeRequest(), worker.DescribeResponse).result()
        expected = worker.DescribeResponse(model="m", version="v", digest="sha256:0", max_rows=8)
        expected.inputs.add(name="x", datatype=worker.FP32, shape=[-1, 4])
        expected.outputs.add(name="y", datatype=worker.FP32, shape=[-1])
        self.assertEqual(said, expected)

    def test_answers_a_zero_to_each_row(self):
        reply = self.worker.predict(floats(3, 4)).result()
        self.assertEqual([(o.name, o.datatype, list(o.shape)) for o in reply.outputs], [("y", worker.FP32, [3])])
        self.assertEqual(list(reply.data), [bytes(12)])

    def test_is_healthy_by_name_and_without(self):
        for service in ("", "xebec.worker.v1.Worker"):
            self.assertEqual(self.worker.check(service).result().status, health.HealthCheckResponse.SERVING)
        self.refused(self.worker.check("other.Service"), grpc.StatusCode.NOT_FOUND, "no such service")

    def test_other_methods_are_unimplemented(self):
        words = "a worker has Describe, Predict and Health/Check"
        for service, method in ((WORKER, "Train"), (HEALTH, "Watch")):
            call = self.worker.call(method, worker.DescribeRequest(), worker.DescribeResponse, service)
            self.refused(call, grpc.StatusCode.UNIMPLEMENTED, words)

    def test_bad_requests_are_refused_in_words_and_the_process_lives(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        good = floats(2, 4)

        def bent(**changes):
            request = worker.PredictRequest()
            request.CopyFrom(good)
            for name, value in changes.items():
                target = request if name == "data" else request.inputs[0]
                if name in ("shape", "data"):
                    del getattr(target, name)[:]
                    getattr(target, name).extend(value)
                else:
                    setattr(target, name, value)
            return request

        two = bent()
        two.inputs.add(name="x", datatype=worker.FP32, shape=[2, 4])
        wanted = bent()
        wanted.outputs.append("z")
        cases = [
            (b"\xff\xff\xff", "the request is not a PredictRequest"),
            (b"\x12\x02\x0a\x05", "the request is not a PredictRequest"),
            (b"", "0 inputs and the data of 0 came, the model has 1"),
            (bent(name="z"), "the model has no input z"),
            (bent(datatype=worker.FP64), "input x does not fit the model's signature"),
            (bent(shape=[2, 5]), "input x does not fit the model's signature"),
            (bent(shape=[2, 4, 1]), "input x does not fit the model's signature"),
            (bent(shape=[0, 4]), "input x does not fit the model's signature"),
            (bent(shape=[-1, 4]), "input x does not fit the model's signature"),
            (bent(shape=[]), "input x does not fit the model's signature"),
            (bent(shape=[1] * 40), "input x does not fit the model's signature"),
            (bent(shape=[3, 4]), "the 32 bytes of input x do not come to its shape"),
            (bent(data=[bytes(31)]), "the 31 bytes of input x do not come to its shape"),
            (bent(data=[]), "1 inputs and the data of 0 came, the model has 1"),
            (bent(data=[bytes(32), b""]), "more inputs came than the model has: 1"),
            (two, "more inputs came than the model has: 1"),
            (wanted, "the model has no output z"),
            (floats(9, 4), "9 rows came, the model takes 8"),
        ]
        for request, words in cases:
            with self.subTest(words):
                self.refused(self.worker.predict(request), invalid, words)
        self.assertEqual(len(self.worker.predict(good).result().data), 1)

    def test_a_request_cut_anywhere_is_refused(self):
        whole = floats(2, 4).SerializeToString()
        calls = [self.worker.predict(whole[:cut]) for cut in range(len(whole))]
        for cut, call in enumerate(calls):
            with self.subTest(cut=cut):
                self.assertEqual(call.exception().code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_a_message_that_is_too_large_is_refused(self):
        call = self.worker.predict(bytes((64 << 20) + 1))
        self.assertEqual(call.exception().code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(self.worker.check().result().status, health.HealthCheckResponse.SERVING)

    def test_hundreds_of_calls_at_once_are_all_answered(self):
        calls = [self.worker.predict(floats(1 + i % 8, 4)) for i in range(500)]
        for i, call in enumerate(calls):
            self.assertEqual(len(call.result().data[0]), 4 * (1 + i % 8))

    def test_both_signals_end_it_well(self):
        self.assertEqual(self.worker.stop(signal.SIGINT), 0)


class Echo(WorkerCase):
    argv = (f"{BIN}/xebec-echo", "--listen", "127.0.0.1:0", "--input", "x:FP64:-1,-1", "--input", "t:BYTES:-1,2")

    def request(self, rows=2, columns=3):
        request = worker.PredictRequest(id=1)
        request.inputs.add(name="t", datatype=worker.BYTES, shape=[rows, 2], encoding=worker.JSON)
        request.inputs.add(name="x", datatype=worker.FP64, shape=[rows, columns])
        request.data.append(text(*(b"item %d" % i * (i % 3) for i in range(rows * 2))))
        request.data.append(struct.pack(f"<{rows * columns}d", *range(rows * columns)))
        return request

    def test_gives_back_what_it_got_in_the_order_of_its_signature(self):
        request = self.request()
        reply = self.worker.predict(request).result()
        self.assertEqual([(o.name, list(o.shape)) for o in reply.outputs], [("x", [2, 3]), ("t", [2, 2])])
        self.assertEqual(list(reply.data), [request.data[1], request.data[0]])
        self.assertEqual(len(reply.errors), 0)

    def test_only_what_is_wanted_comes(self):
        request = self.request()
        request.outputs.append("t")
        reply = self.worker.predict(request).result()
        self.assertEqual([o.name for o in reply.outputs], ["t"])
        self.assertEqual(list(reply.data), [request.data[0]])

    def test_large_and_empty_rows_come_back_whole(self):
        for rows, columns in ((1000, 700), (1, 0), (5, 1)):
            request = self.request(rows, columns)
            reply = self.worker.predict(request).result()
            self.assertEqual(list(reply.data), [request.data[1], request.data[0]], f"{rows} x {columns}")

    def test_data_may_come_before_its_specs(self):
        request = self.request()
        swapped = worker.PredictRequest(data=request.data).SerializeToString()
        swapped += worker.PredictRequest(inputs=request.inputs).SerializeToString()
        self.assertEqual(self.worker.predict(swapped).result(), self.worker.predict(request).result())

    def test_bytes_that_lie_are_refused(self):
        request = self.request()
        for lie in (request.data[0][:-1], request.data[0] + b"\0", b"\xff\xff\xff\xff", b"", text(b"a", b"b")):
            request.data[0] = lie
            self.refused(self.worker.predict(request), grpc.StatusCode.INVALID_ARGUMENT,
                         f"the {len(lie)} bytes of input t do not come to its shape")

    def test_rows_must_agree(self):
        request = self.request()
        request.inputs[1].shape[0] = 3
        self.refused(self.worker.predict(request), grpc.StatusCode.INVALID_ARGUMENT,
                     "input x has 3 rows, another has 2")
        request.inputs[1].CopyFrom(request.inputs[0])
        self.refused(self.worker.predict(request), grpc.StatusCode.INVALID_ARGUMENT, "input t came twice")


class Picky(WorkerCase):
    argv = (PICKY, "127.0.0.1:0")

    def predict(self, *first):
        return self.worker.predict(floats(len(first), 2, values=[v for x in first for v in (x, 0)]))

    def test_rows_fail_alone(self):
        reply = self.predict(2, -1, 3).result()
        self.assertEqual([(e.row, e.message) for e in reply.errors], [(1, "x is negative")])
        self.assertEqual(reply.data[0][0:4] + reply.data[0][8:], struct.pack("<2f", 4, 9))
        self.assertEqual(reply.data[1], text(b"row 0", b"", b"row 2"))

    def test_every_row_may_fail(self):
        reply = self.predict(-1, -2).result()
        self.assertEqual([e.row for e in reply.errors], [0, 1])
        self.assertEqual(reply.data[1], text(b"", b""))

    def test_rows_whose_words_are_left_out_fail_alone(self):
        reply = self.predict(1, 999, 2, 999).result()
        words = "the model left an output of this row unwritten"
        self.assertEqual([(e.row, e.message) for e in reply.errors], [(1, words), (3, words)])
        self.assertEqual(reply.data[1], text(b"row 0", b"", b"row 2", b""))

    def test_a_batch_fails_in_the_models_words(self):
        self.refused(self.predict(1, 777), grpc.StatusCode.UNKNOWN, "the model is out of sorts")

    def test_an_output_left_unwritten_is_the_models_fault(self):
        self.refused(self.predict(888), grpc.StatusCode.INTERNAL, "the model left output y unwritten")

    def test_health_answers_while_the_model_works(self):
        slow = [self.predict(1000 + 700) for _ in range(2)]
        time.sleep(0.1)
        self.assertEqual(self.worker.check().result().status, health.HealthCheckResponse.SERVING)
        self.assertFalse(any(call.done() for call in slow))
        for call in slow:
            self.assertEqual(len(call.result().data), 2)

    def test_two_threads_work_side_by_side(self):
        started = time.monotonic()
        for call in [self.predict(1000 + 600), self.predict(1000 + 600)]:
            call.result()
        self.assertLess(time.monotonic() - started, 1.1)

    def test_what_is_in_flight_is_finished_before_the_end(self):
        slow = self.predict(1000 + 500)
        time.sleep(0.1)
        self.worker.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        late = Worker.predict(self.worker, floats(1, 2))
        self.assertEqual(late.exception().code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(len(slow.result().data), 2)
        self.assertEqual(self.worker.process.wait(DEADLINE), 0)

    def test_what_does_not_end_is_given_up(self):
        slow = self.predict(1000 + 15000)
        time.sleep(0.1)
        started = time.monotonic()
        self.worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.process.wait(DEADLINE), 1)
        self.assertLess(time.monotonic() - started, 8)
        self.assertIsNotNone(slow.exception())
        self.worker.drain.join()
        self.assertIn("picky@1: gave up calls that did not end\n", self.worker.rest)


class Late(unittest.TestCase):
    def test_a_call_that_arrives_as_the_server_ends_is_sent_elsewhere(self):
        """gRPC core would keep it until the end of the drain, 10 s later: neither handed out nor refused."""
        sanitizers = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        late = Worker(f"{BIN}/xebec-echo", "--listen", "127.0.0.1:0", LD_PRELOAD=LATE_CALL, ASAN_OPTIONS=sanitizers)
        self.addCleanup(late.stop)
        late.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE
        while "late_call: now\n" not in late.rest:
            self.assertLess(time.monotonic(), deadline, late.rest)
            time.sleep(0.01)
        started = time.monotonic()
        elsewhere = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED
        self.assertIn(late.predict(floats(1, 4)).exception().code(), elsewhere)
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(late.process.wait(DEADLINE), 0)


class Addresses(unittest.TestCase):
    def test_a_unix_socket_is_served_and_removed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/echo.sock"
            running = Worker(f"{BIN}/xebec-echo", "--listen", f"unix:{path}")
            self.assertEqual(running.address, f"unix:{path}")
            self.assertEqual(running.predict(floats(1, 4)).result().data[0], struct.pack("<4f", *range(4)))
            self.assertTrue(os.path.exists(path))
            self.assertEqual(running.stop(), 0)
            self.assertFalse(os.path.exists(path))

    def test_an_address_in_use_is_said(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = subprocess.run([f"{BIN}/xebec-noop", "--listen", address], capture_output=True, text=True,
                                  timeout=DEADLINE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"noop@1: cannot listen on {address}\n", done.stderr)

    def test_two_workers_do_not_share_a_port(self):
        first = Worker(f"{BIN}/xebec-noop", "--listen", "127.0.0.1:0")
        self.addCleanup(first.stop)
        second = subprocess.run([f"{BIN}/xebec-noop", "--listen", first.address], capture_output=True,
                                timeout=DEADLINE)
        self.assertEqual(second.returncode, 1)

    def test_an_idle_worker_ends_at_once(self):
        for argv in ((f"{BIN}/xebec-noop", "--listen", "127.0.0.1:0"), (PICKY, "127.0.0.1:0")):
            running = Worker(*argv)
            started = time.monotonic()
            self.assertEqual(running.stop(), 0)
            self.assertLess(time.monotonic() - started, 5)


class CommandLine(unittest.TestCase):
    def run_worker(self, *argv):
        return subprocess.run([f"{BIN}/xebec-noop", *argv], capture_output=True, text=True, timeout=DEADLINE)

    def test_help_names_every_option(self):
        done = self.run_worker("--help")
        self.assertEqual(done.returncode, 0)
        for option in ("--listen", "--model", "--version", "--input", "--output", "--max-rows", "--digest"):
            self.assertIn(option, done.stdout)

    def test_nonsense_is_refused(self):
        for argv in (("--input", "x"), ("--input", "x:FP32"), ("--input", "x:FP99:-1"), ("--input", "x:FP32:"),
                     ("--input", ":FP32:-1"), ("--input", "x:FP32:-1,"), ("--input", "x:FP32:-1,-2"),
                     ("--input", "x:FP32:-1,1,1,1,1,1,1,1,1"), ("--input", "x:FP32:-1 4"), ("--max-rows", "-1"),
                     ("--max-rows", "many"), ("--nonsense",), ("word",), ("--listen",)):
            with self.subTest(argv):
                self.assertEqual(self.run_worker(*argv).returncode, 2)
        self.assertEqual(self.run_worker("--input", "x:FP32:1,4").returncode, 1, "rows must be -1")


class Readme(unittest.TestCase):
    def test_shows_the_example_that_is_compiled_and_it_is_short(self):
        kit = f"{os.path.dirname(PROTO)}/containers/c"
        with open(f"{kit}/README.md") as readme, open(f"{kit}/examples/double.c") as example:
            code = example.read()
            self.assertIn(f"```c\n{code}```", readme.read())
        self.assertLess(code.count("\n"), 20)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[5:])
