"""Load: closed-loop clients that ask for predictions and account for every question: answered, and how, or lost.

    with Load([("127.0.0.1", 8080)], "digits") as load:
        load.wait_answers(500)
        ...                                   # do to the system what operators, or bad luck, do
    assert load.lost == 0 and not load.errors, load.describe()
"""
import collections
import http.client
import json
import random
import threading
import time

PATIENCE_S = 60
FAILED_SHOWN = 20
ANSWER_S = 30  # longer than any objective: no answer by then is an answer lost


class Load:
    """
    addresses: gateways, or a function that says which there are now. With one, every connection that fails is an
    answer lost. With more, a question whose connection failed before its reply was there goes to another gateway, as
    a load balancer would send it, `tries` times in all; it is lost when none answers.
    distinct: how many different rows there are; None: all, so that no cache answers, save what a load of the same seed has
    asked for: they ask for the same rows in the same order.
    """

    def __init__(self, addresses, endpoint, clients=4, distinct=None, seed=1, tries=None):
        self.where = addresses if callable(addresses) else lambda: addresses
        self.tries = tries or len(self.where())
        self.path, self.seed = f"/{endpoint}/predict", seed
        self.pool = bodies(distinct, seed) if distinct else None
        self.lock = threading.Lock()
        self.ok = collections.Counter()  # by version
        self.errors, self.defaults = collections.Counter(), collections.Counter()  # by cause
        self.lost_why = collections.Counter()
        self.asked = self.tried_elsewhere = 0
        self.failed = []  # (asked, ended, what the answer was); times as time.time() says them
        self.ended = []  # (asked, ended) of each question
        self.latencies_ms = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    # --- what came of it ---------------------------------------------------------------------------

    @property
    def answers(self):
        return len(self.latencies_ms)

    @property
    def lost(self):
        """What failed, and what nobody can account for."""
        known = sum(sum(counter.values()) for counter in (self.ok, self.errors, self.defaults))
        return self.asked - known

    def quantile_ms(self, q):
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

    def describe(self):
        return {"asked": self.asked, "ok": dict(self.ok), "defaults": dict(self.defaults), "errors": dict(self.errors),
                "lost": self.lost, "because": dict(self.lost_why), "tried elsewhere": self.tried_elsewhere,
                "failed": self.describe_failed()}

    def describe_failed(self):
        """Each in words, with what became of others meanwhile: whether all had to wait, or this one alone."""
        said = []
        for asked, ended, what in self.failed[:FAILED_SHOWN]:
            others = [end - start for start, end in self.ended if asked < end < ended]
            clock = time.strftime("%H:%M:%S", time.gmtime(asked)) + f"{asked % 1:.3f}"[1:]
            said.append(f"{self.path} asked at {clock}, after {1e3 * (ended - asked):.0f} ms: {what}; meanwhile {len(others)} others ended, "
                        f"the slowest after {1e3 * max(others, default=0):.0f} ms")
        return said

    def wait_answers(self, more):
        """Until so many more have come."""
        wanted, deadline = self.answers + more, time.monotonic() + PATIENCE_S
        while self.answers < wanted:
            assert time.monotonic() < deadline, f"{self.answers} answers, {wanted} wanted: {self.describe()}"
            time.sleep(0.01)

    # --- asking ------------------------------------------------------------------------------------

    def _client(self, number):
        rows = random.Random(f"{self.seed}/client/{number}")
        connections = Connections(self.where, self.tries, number)
        while not self.stopping.is_set():
            body = rows.choice(self.pool) if self.pool else random_body(rows)
            with self.lock:
                self.asked += 1
            asked = time.time()
            status, reply, failures = connections.ask(self.path, body)
            with self.lock:
                self._account(status, reply, failures, asked, time.time())
        connections.close()

    def _account(self, status, reply, failures, asked, ended):
        self.ended.append((asked, ended))
        if status != 200 or reply["default"]:
            self.failed.append((asked, ended, f"{status or failures} {json.dumps(reply)}"))
        if status is None:
            self.lost_why[failures[-1]] += 1
            return
        self.tried_elsewhere += len(failures)
        self.latencies_ms.append((ended - asked) * 1e3)
        if status != 200:
            self.errors[f"{status} {reply.get('cause')}"] += 1
        elif reply["default"]:
            self.defaults[reply["cause"]] += 1
        else:
            self.ok[reply["model"]] += 1


class Connections:
    """One client's, one to each gateway, opened when needed; it stays with a gateway while that answers."""

    def __init__(self, where, tries, first):
        self.where, self.tries, self.turn = where, tries, first
        self.addresses = where()
        self.open = {}

    def ask(self, path, body):
        """-> (status, JSON, names of failures on the way); status None: nobody answered."""
        failures = []
        for _ in range(self.tries):
            try:
                status, reply = self._ask_one(path, body)
                return status, reply, failures
            except (OSError, http.client.HTTPException) as error:
                failures.append(type(error).__name__)
                self._go_elsewhere()
        return None, None, failures

    def _ask_one(self, path, body):
        address = self.addresses[self.turn % len(self.addresses)]
        connection = self.open.get(address)
        if connection is None:
            connection = self.open[address] = http.client.HTTPConnection(*address, timeout=ANSWER_S)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        reply = json.loads(response.read())
        if response.will_close:  # it says that it drains: the next question goes elsewhere
            self._go_elsewhere()
        return response.status, reply

    def _go_elsewhere(self):
        """Away from this gateway; where that is is asked anew."""
        connection = self.open.pop(self.addresses[self.turn % len(self.addresses)], None)
        if connection:
            connection.close()
        self.addresses, self.turn = self.where() or self.addresses, self.turn + 1

    def close(self):
        for connection in self.open.values():
            connection.close()


def ask_each(address, endpoint, asked):
    """The outputs for these bodies, asked one by one; each must be the model's."""
    connections = Connections(lambda: [address], 1, 0)
    replies = [connections.ask(f"/{endpoint}/predict", body) for body in asked]
    connections.close()
    assert all(status == 200 and not reply["default"] for status, reply, _ in replies), replies
    return [reply["output"] for _, reply, _ in replies]


def bodies(count, seed):
    rows = random.Random(f"{seed}/pool")
    return [random_body(rows) for _ in range(count)]


def random_body(rows):
    """A picture of noise: 64 grey values of 0 to 16."""
    return '{"input":[' + ",".join(map(str, rows.choices(range(17), k=64))) + "]}"
