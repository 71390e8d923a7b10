"""One client of the soak: asks everything there is to ask, and checks that each answer is the one to its question."""
import collections
import random
import socket
import time

from .http_client import Client, encode_request

DEFAULT = [-1, -1, -1, -1]  # of the endpoint `hasty`
HOT_ROWS = 50
ROWS_MOST = 8  # of one batch
# How a prediction may end without an answer while replicas die: with a status, and in words that programs know.
TYPED = {(503, "no_replica"), (504, "slo_missed"), (429, "overloaded")}
BURST = 12


class Wrong(Exception):
    pass


def must(condition, *what):
    if not condition:
        raise Wrong(what)


class SoakClient:
    """Rows name their client and number, so that an echo proves whose answer it is."""

    def __init__(self, address, number, seed):
        self.address, self.number = address, number
        self.dice = random.Random(f"{seed}/{number}")
        self.rows_made = 0
        self.tally = collections.Counter()
        self.query_ids = []
        self.client = Client(address)

    # --- questions: each a request, and what may answer it -----------------------------------------

    def fresh_row(self):
        self.rows_made += 1
        return [self.number, self.rows_made // 1000, self.rows_made % 1000, self.dice.randrange(1000)]

    def any_row(self):
        return [-2, self.dice.randrange(HOT_ROWS), 0, 0] if self.dice.random() < 0.5 else self.fresh_row()

    def ask_row(self, endpoint, row):
        def check(reply):
            self.check_entry(reply.status, reply.json(), row, may_default=endpoint == "hasty")
        return encode_request("POST", f"/{endpoint}/predict", {"input": row}), check

    def ask_fresh(self):
        return self.ask_row("echo", self.fresh_row())

    def ask_hot(self):
        return self.ask_row("echo", [-2, self.dice.randrange(HOT_ROWS), 0, 0])

    def ask_hasty(self):
        return self.ask_row("hasty", self.any_row())

    def ask_batch(self):
        rows = [self.any_row() for _ in range(self.dice.randint(2, ROWS_MOST))]

        def check(reply):
            if reply.status not in (200, 207):
                self.check_failure(reply.status, reply.json())
                return
            entries = reply.json()["batch_predictions"]
            must(len(entries) == len(rows), "rows", rows, reply)
            for entry, row in zip(entries, rows):
                self.check_entry(503 if "error" in entry else 200, entry, row)
            must((reply.status == 207) == any("error" in entry for entry in entries), reply)
        return encode_request("POST", "/echo/predict", {"input_batch": rows}), check

    def ask_refused(self):
        request, status = self.dice.choice([
            (encode_request("POST", "/echo/predict", b'{"input": [1, 2'), 400),
            (encode_request("POST", "/echo/predict", {"input": [1, 2, 3]}), 400),
            (encode_request("POST", "/echo/predict", {"input": ["a", 2, 3, 4]}), 400),
            (encode_request("POST", "/nobody/predict", {"input": [1]}), 404),
            (encode_request("PUT", "/echo/predict", {"input": [1]}), 405),
        ])

        def check(reply):
            must(reply.status == status and set(reply.json()) == {"error", "cause"}, request, reply)
            self.tally["refused"] += 1
            self.tally["predictions refused"] += status == 400
        return request, check

    # --- answers -------------------------------------------------------------------------------------

    def check_entry(self, status, entry, row, may_default=False):
        if status != 200:
            self.check_failure(status, entry)
            return
        self.query_ids.append(entry["query_id"])
        if entry["default"]:
            must(may_default and entry["output"] == DEFAULT and entry["cause"], row, entry)
            self.tally["default"] += 1
        else:
            must(entry["output"] == row, row, entry)
            self.tally["right"] += 1

    def check_failure(self, status, problem):
        cause = problem["cause"]
        must(any(cause == known and (status == code or "query_id" in problem) for code, known in TYPED), status, problem)
        self.tally[cause] += 1

    # --- bursts ----------------------------------------------------------------------------------------

    def questions(self, count):
        kinds = self.dice.choices([self.ask_fresh, self.ask_hot, self.ask_batch, self.ask_hasty, self.ask_refused],
                                  [40, 32, 10, 8, 10], k=count)
        return [kind() for kind in kinds]

    def reconnect(self):
        self.client.close()
        self.client = Client(self.address)

    def burst(self, count):
        """Pipelined: every question is answered once, in order, and nothing follows."""
        questions = self.questions(count)
        self.client.send(b"".join(request for request, _ in questions))
        failures = self.tally["no_replica"]
        for _, check in questions:
            check(self.client.read_reply())
        must(self.client.unread == b"", "more than was asked for", self.client.unread)
        if self.tally["no_replica"] > failures:
            time.sleep(0.02)  # as Retry-After asks for, in small

    def hang_up(self, count):
        """Reads some of the answers, and goes."""
        questions = self.questions(count)
        self.client.send(b"".join(request for request, _ in questions))
        read = self.dice.randint(0, count - 1)
        for _, check in questions[:read]:
            check(self.client.read_reply())
        self.tally["abandoned"] += count - read
        self.reconnect()

    def stammer(self):
        """
        Bytes that are no request: an error, and the end of the connection. The first of them is none of a method: what
        begins like one, and goes on without HTTP, is another protocol, which would not understand an answer and gets none.
        """
        self.client.send(b"(" + self.dice.randbytes(30).replace(b"\n", b"").replace(b"\r", b"") + b"\r\n\r\n")
        must(self.client.read_reply().status in (400, 501, 505), "stammer")
        must(self.client.read_end() == b"", "stammer answered twice")
        self.tally["stammered"] += 1
        self.reconnect()

    def run(self, requests):
        asked = 0
        while asked < requests:
            count = min(self.dice.randint(1, BURST), requests - asked)
            chance = self.dice.random()
            if chance < 0.02:
                count = 1
                self.stammer()
            elif chance < 0.06:
                self.hang_up(count)
            else:
                self.burst(count)
            asked += count
        self.client.close()


def soak(address, number, seed, requests, report):
    """The whole life of a client process. report: a queue for (number, tally, query ids, what went wrong)."""
    client, problem = None, None
    try:
        client = SoakClient(address, number, seed)
        client.run(requests)
    except (Wrong, OSError, ValueError, KeyError, AssertionError, socket.timeout) as wrong:
        problem = f"client {number}: {wrong!r}"
    except Exception as wrong:  # noqa: BLE001 - whatever it is, the test must hear of it
        problem = f"client {number}: {type(wrong).__name__} {wrong}"
    report.put((number, client.tally if client else {}, client.query_ids if client else [], problem))
