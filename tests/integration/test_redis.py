"""Answers in Redis, with a real redis-server: shared, bounded in time, and never in the way when it is in trouble."""
import json
import threading
import time

import pytest
from xebec_testing.gateway import one_model, run_xebec
from xebec_testing.http_client import encode_request
from xebec_testing.patience import wait_until
from xebec_testing.redis_server import RedisServer

PATIENT = {"connect": "1s", "command": "1s"}  # sanitizers and busy machines: no timeout where none is meant
HASTY = {"connect": "200ms", "command": "20ms"}


@pytest.fixture
def new_redis(tmp_path):
    """new_redis(options..., password=): serving, unless start=False."""
    servers = []

    def new(*options, start=True, **more):
        directory = tmp_path / f"redis{len(servers)}"
        directory.mkdir()
        servers.append(RedisServer(directory, *options, **more))
        return servers[-1].start() if start else servers[-1]

    yield new
    for server in servers:
        server.kill()


@pytest.fixture
def redis(new_redis):
    return new_redis()


def with_redis(replicas, url, memory=0, timeout=PATIENT, cache=None, **changes):
    """Nothing is kept in memory, so that every row is a matter of Redis."""
    return one_model([each.unix for each in replicas],
                     cache={"memory": memory, "redis": {"url": url, "timeout": timeout, **(cache or {})}}, **changes)


@pytest.fixture
def share(start_gateway):
    """share(redis' url, puppets..., **changes): a gateway that is ready, and its Redis is up."""
    def start(url, *replicas, up=True, **changes):
        gateway = start_gateway(with_redis(replicas, url, **changes)).wait_ready()
        return wait_breaker(gateway, "closed") if up else gateway
    return start


def cache_events(gateway, name):
    """Lines about the cache's connections; rollouts have one of their own."""
    return [line for line in gateway.events(name) if line["use"] == "cache"]


def breakers(gateway):
    return [shard["breaker"] for shard in gateway.status()["redis"]["shards"]]


def wait_breaker(gateway, state):
    wait_until(lambda: set(breakers(gateway)) == {state}, lambda: f"{state}: {gateway.status()['redis']}")
    return gateway


def wait_not_closed(gateway):
    wait_until(lambda: "closed" not in breakers(gateway), lambda: gateway.status()["redis"])


def answer(reply):
    assert reply.status == 200, reply
    return reply.json()["output"]


def rows(gateway, outcome):
    return gateway.metrics().sum("xebec_cache_redis_rows_total", outcome=outcome)


def wait_stored(gateway, count):
    gateway.wait_metric(count, "xebec_cache_redis_stores_total", outcome="stored")


# --- shared -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", ["url", "unix"])
def test_two_gateways_share_answers(redis, puppet, share, way):
    first, second = (share(getattr(redis, way), puppet) for _ in range(2))
    assert answer(first.predict(input=[1, 2])) == [1, 2]
    wait_stored(first, 1)
    assert answer(second.predict(input=[1, 2])) == [1, 2]
    assert answer(first.predict(input=[1, 2])) == [1, 2]
    assert puppet.rows_seen() == [1]
    assert (rows(first, "miss"), rows(first, "hit"), rows(second, "hit")) == (1, 1, 1)


def test_what_redis_knows_memory_learns(redis, puppet, share):
    share(redis.url, puppet).predict(input=[1])
    wait_until(lambda: redis.keys(), "the answer to be stored")
    gateway = share(redis.url, puppet, memory="16MiB", shards=1)
    for _ in range(3):
        assert answer(gateway.predict(input=[1])) == [1]
    assert puppet.rows_seen() == [1]
    assert (rows(gateway, "hit"), gateway.metrics().sum("xebec_cache_hits_total")) == (1, 2)


def test_rows_are_looked_up_together(redis, puppet, share):
    gateway = share(redis.url, puppet, shards=1)
    batch = [[n] for n in range(150)]
    assert gateway.predict(input_batch=batch[::2]).status == 200
    wait_stored(gateway, 75)
    before = redis.calls("mget")
    reply = gateway.predict(input_batch=batch)
    assert [each["output"] for each in reply.json()["batch_predictions"]] == batch
    assert (rows(gateway, "hit"), rows(gateway, "miss")) == (75, 150)
    assert redis.calls("mget") - before == 3  # 150 rows, 64 a command
    assert sorted(puppet.rows_seen()) == list(range(150))


def test_identical_rows_in_flight_are_asked_once(redis, puppet, share):
    share(redis.url, puppet).predict(input=[7])
    wait_until(lambda: redis.keys(), "the answer to be stored")
    gateway = share(redis.url, puppet, memory="16MiB", slo="60s", timeout={"connect": "5s", "command": "10s"})
    redis.freeze()
    clients = [gateway.connect() for _ in range(6)]
    for client in clients:
        client.send(encode_request("POST", "/e/predict", {"input": [7]}))
    gateway.wait_metric(5, "xebec_cache_joins_total")
    redis.thaw()
    assert [answer(client.read_reply()) for client in clients] == [[7]] * 6
    assert (rows(gateway, "hit"), puppet.rows_seen()) == (1, [7])
    for client in clients:
        client.close()


def test_keys_say_whose_they_are(redis, puppet, share):
    share(redis.url, puppet, cache={"prefix": "blue"}).predict(input=[1])
    wait_until(lambda: redis.keys(), "the answer to be stored")
    [key] = redis.keys()
    assert key.startswith(b"blue:1:m@v1:") and len(key) == len(b"blue:1:m@v1:") + 64
    share(redis.url, puppet, cache={"prefix": "green"}).predict(input=[1])
    assert puppet.rows_seen() == [1, 1]


def test_time_to_live(redis, puppet, share):
    gateway = share(redis.url, puppet, model={"cache": {"ttl": "400ms"}})
    gateway.predict(input=[1])
    wait_until(lambda: rows(gateway, "miss") and not redis.keys(), "the answer to expire")
    assert answer(gateway.predict(input=[1])) == [1]
    assert puppet.rows_seen() == [1, 1]


def test_an_old_answer_does_not_live_twice(redis, puppet, share):
    """Its age counts from the model's answer: one gateway cannot give another a fresh lease."""
    share(redis.url, puppet).predict(input=[1])
    wait_until(lambda: redis.keys(), "the answer to be stored")
    time.sleep(0.05)  # at least; the shorter ttl below makes any age enough
    gateway = share(redis.url, puppet, model={"cache": {"ttl": "50ms"}})
    assert answer(gateway.predict(input=[1])) == [1]
    assert (rows(gateway, "expired"), puppet.rows_seen()) == (1, [1, 1])


def test_a_new_digest_starts_anew(redis, new_puppet, share):
    old, new = new_puppet(), new_puppet(digest="d2")
    for replica in (old, new):
        assert answer(share(redis.url, replica).predict(input=[1])) == [1]
        assert replica.rows_seen() == [1]
    wait_until(lambda: len(redis.keys()) == 2, redis.keys)


def test_no_digest_is_not_shared(redis, new_puppet, share):
    replica = new_puppet(digest="")
    gateway = share(redis.url, replica)
    for _ in range(2):
        assert answer(gateway.predict(input=[1])) == [1]
    assert (rows(gateway, "skipped_digest"), redis.keys()) == (2, [])


def test_failures_are_not_stored(redis, puppet, share):
    gateway = share(redis.url, puppet.play(mode="raise_all", times=1))
    assert gateway.predict(input=[1]).status == 500
    assert answer(gateway.predict(input=[1])) == [1]
    wait_stored(gateway, 1)
    assert len(redis.keys()) == 1


def test_a_model_that_is_not_cached_is_not_shared(redis, puppet, share):
    gateway = share(redis.url, puppet, model={"cache": False})
    for _ in range(2):
        assert answer(gateway.predict(input=[1])) == [1]
    assert (len(puppet.calls()), redis.keys()) == (2, [])


def test_without_redis_nothing_is_said_of_it(puppet, gateway_for):
    gateway = gateway_for(puppet, cache={"memory": "1MiB"})
    assert answer(gateway.predict(input=[1])) == [1]
    assert gateway.status()["redis"] is None
    assert not [key for key, value in gateway.metrics().samples.items() if "redis" in key[0]]


# --- who may ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["url", "escaped", "file", "acl", "acl file"])
def test_passwords(new_redis, puppet, share, tmp_path, how):
    secret = "p@ss/w:rd%" if how == "escaped" else "s3cret"
    redis = new_redis(password=secret)
    if how.startswith("acl"):
        redis.ask("ACL", "SETUSER", "gate", "on", f">{secret}", "~xebec:*", "+mget", "+set", "+select")
    (tmp_path / "password").write_text(secret + "\n")
    host = redis.url.removeprefix("redis://")
    url, more = {"url": (f"redis://:{secret}@{host}", {}), "escaped": (f"redis://:p%40ss%2Fw%3Ard%25@{host}", {}),
                 "file": (redis.url, {"password_file": str(tmp_path / "password")}),
                 "acl": (f"redis://gate:{secret}@{host}", {}),
                 "acl file": (f"redis://gate@{host}", {"password_file": str(tmp_path / "password")})}[how]
    gateway = share(url, puppet, cache=more)
    assert answer(gateway.predict(input=[1])) == [1]
    wait_stored(gateway, 1)
    assert gateway.status()["redis"]["url"] == redis.url + "/0"
    assert secret not in gateway.stderr_path.read_text() and secret not in str(gateway.status())


def test_wrong_password(new_redis, puppet, share):
    redis = new_redis(password="right")
    gateway = share(redis.url.replace("://", "://:wr0ng@"), puppet, up=False)
    wait_until(lambda: cache_events(gateway, "redis_down"), gateway.log)
    for n in range(20):
        assert answer(gateway.predict(input=[n])) == [n]
    assert "WRONGPASS" in gateway.status()["redis"]["shards"][0]["why"]
    assert rows(gateway, "skipped_down") == 20
    assert "wr0ng" not in gateway.stderr_path.read_text() + str(gateway.status())
    redis.ask("CONFIG", "SET", "requirepass", "wr0ng")
    redis.password = "wr0ng"
    wait_breaker(gateway, "closed")


def test_databases(redis, puppet, share):
    gateway = share(redis.url + "/5", puppet)
    gateway.predict(input=[1])
    wait_stored(gateway, 1)
    assert (len(redis.keys(5)), redis.keys(0)) == (1, [])
    over_unix = share(redis.unix + "?db=5", puppet)
    assert answer(over_unix.predict(input=[1])) == [1]
    assert rows(over_unix, "hit") == 1


def test_wrong_database(redis, puppet, share):
    gateway = share(redis.url + "/999", puppet, up=False)
    wait_not_closed(gateway)
    assert answer(gateway.predict(input=[1])) == [1]
    wait_until(lambda: "out of range" in gateway.status()["redis"]["shards"][0]["why"], gateway.status)


@pytest.mark.parametrize("url, words", [("rediss://h", "TLS"), ("http://h", "expected a URL"),
                                        ("redis://:hidd3n@h:x", "expected a URL"), ("redis://u@h", "user needs a password")])
def test_refused_urls(tmp_path, url, words):
    path = tmp_path / "xebec.yaml"
    path.write_text(f'cache: {{redis: "{url}"}}\n')
    problems = run_xebec("check", "--config", path).stderr
    assert words in problems and "hidd3n" not in problems


# --- what is poisoned -----------------------------------------------------------------------------------------------

def poisons(value, other):
    flipped = bytearray(value)
    flipped[len(value) // 2] ^= 1
    return {"truncated": value[:-1], "head alone": value[:10], "empty": b"", "flipped": bytes(flipped),
            "another row's": other, "another format": value[:16] + b"\x02" + value[17:], "longer": value + b"\0",
            "huge": b"x" * 300_000, "noise": bytes(range(256)) * 4}


@pytest.mark.parametrize("poison", poisons(b"x" * 32, b""))
def test_poison_is_a_miss(redis, puppet, share, poison):
    gateway = share(redis.url, puppet)
    keys = []
    for n in (1, 2):
        gateway.predict(input=[n])
        wait_stored(gateway, n)
        keys.append(next(key for key in redis.keys() if key not in keys))
    good, other = (redis.ask("GET", key) for key in keys)
    redis.set(keys[0], poisons(good, other)[poison])
    assert answer(gateway.predict(input=[1])) == [1]
    assert (rows(gateway, "corrupt"), rows(gateway, "hit")) == (1, 0)
    assert puppet.rows_seen() == [1, 2, 1]
    wait_stored(gateway, 3)  # and healed
    assert answer(gateway.predict(input=[1])) == [1]
    assert rows(gateway, "hit") == 1


def test_not_a_string_is_a_miss(redis, puppet, share):
    gateway = share(redis.url, puppet)
    gateway.predict(input=[1])
    wait_stored(gateway, 1)
    [key] = redis.keys()
    redis.ask("DEL", key)
    redis.ask("LPUSH", key, "x")
    assert answer(gateway.predict(input=[1])) == [1]
    assert (rows(gateway, "miss"), puppet.rows_seen()) == (2, [1, 1])


def test_an_answer_that_does_not_fit_the_signature_is_a_miss(redis, new_puppet, share):
    """Stored by a gateway that declares another output: the key is the same, the checksum right."""
    first = new_puppet(outputs={"y": ["FP32", [-1, -1], "TEXT"]})
    gateway = share(redis.url, first)
    gateway.predict(input=[1])
    wait_stored(gateway, 1)
    strict = share(redis.url, first, outputs={"y": {"datatype": "FP32", "shape": [-1, 7]}}, up=True)
    assert strict.predict(input=[1]).status in (200, 502)  # the replica's own answer does not fit either
    assert rows(strict, "corrupt") == 1


# --- trouble, while predictions go on ---------------------------------------------------------------------------------

class Traffic:
    """Clients that ask without end; every answer is counted, and must be right."""

    def __init__(self, gateway, clients=4):
        self.gateway, self.asked, self.right, self.wrong = gateway, 0, 0, []
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def _run(self, number):
        with self.gateway.connect() as client:
            count = 0
            while not self.stopping.is_set():
                row = [number, count % 50, count // 50 % 3]
                count += 1
                with self.lock:
                    self.asked += 1
                try:
                    reply = client.predict(input=row)
                    well = reply.status == 200 and reply.json()["output"] == row
                except Exception as problem:  # noqa: BLE001 - whatever it is, it is a lost answer
                    reply, well = problem, False
                with self.lock:
                    self.right += well
                    if not well:
                        self.wrong.append((row, reply))
                if isinstance(reply, Exception):
                    return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *problem):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        if problem[0] is None:
            assert not self.wrong and self.asked == self.right, (self.asked, self.right, self.wrong[:3])

    def wait_more(self, count):
        target = self.right + count
        wait_until(lambda: self.right >= target or self.wrong, lambda: f"{target} answers: {self.right}", 60)


@pytest.mark.parametrize("memory", [0, "16MiB"])
def test_killed_and_restarted(redis, puppet, share, memory):
    gateway = share(redis.url, puppet, memory=memory)
    with Traffic(gateway) as traffic:
        traffic.wait_more(100)
        redis.kill()
        wait_not_closed(gateway)
        traffic.wait_more(100)
        redis.start()
        wait_breaker(gateway, "closed")
        traffic.wait_more(100)
    if not memory:
        wait_until(lambda: redis.keys(), "answers in the new Redis")
    assert len(cache_events(gateway, "redis_down")) == 1 and len(cache_events(gateway, "redis_up")) == 2, "one line, whatever the shards"
    for shard in gateway.status()["redis"]["shards"]:
        assert shard["why"] == ""


def test_frozen(redis, puppet, share):
    gateway = share(redis.url, puppet, timeout=HASTY, shards=1)  # a shard that is not asked does not notice
    with Traffic(gateway) as traffic:
        traffic.wait_more(100)
        redis.freeze()
        wait_not_closed(gateway)
        skipped = rows(gateway, "skipped_down")
        traffic.wait_more(200)
        assert rows(gateway, "skipped_down") > skipped
        redis.thaw()
        wait_breaker(gateway, "closed")
        traffic.wait_more(100)
    timeouts = rows(gateway, "timeout") + rows(gateway, "given_up") + rows(gateway, "lost")
    assert 0 < timeouts < 100
    assert gateway.metrics().sum("xebec_redis_opened_total") >= 1


def test_full(new_redis, puppet, share):
    """Not one more key: stores go off with one line, lookups go on, and stores come back when there is room."""
    redis = new_redis("--maxmemory-policy", "noeviction")
    puppet.play(delay_ms=20)  # so that lookups are worth waiting for, though nearly all are misses
    gateway = share(redis.url, puppet, shards=1)
    gateway.predict(input=[0])
    wait_stored(gateway, 1)
    redis.ask("CONFIG", "SET", "maxmemory", 1)
    with Traffic(gateway) as traffic:
        wait_until(lambda: gateway.events("redis_stores_off"), gateway.log)
        traffic.wait_more(100)
        assert answer(gateway.predict(input=[0])) == [0]
        assert rows(gateway, "hit") == 1
        wait_until(lambda: gateway.metrics().sum("xebec_cache_redis_stores_total", outcome="skipped_off"), "a store to be skipped")
        assert gateway.status()["redis"]["shards"][0]["stores"] is False
        redis.ask("CONFIG", "SET", "maxmemory", 0)
        wait_until(lambda: gateway.events("redis_stores_on"), gateway.log)
    assert breakers(gateway) == ["closed"]
    assert "OOM" in gateway.events("redis_stores_off")[0]["why"]


def test_read_only(new_redis, puppet, share):
    redis = new_redis("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes")
    gateway = share(redis.url, puppet, shards=1)
    for n in range(20):
        assert answer(gateway.predict(input=[n])) == [n]
    wait_until(lambda: gateway.events("redis_stores_off"), gateway.log)
    assert "READONLY" in gateway.events("redis_stores_off")[0]["why"]


def test_gone_at_the_start_and_there_later(new_redis, puppet, share):
    redis = new_redis(start=False)
    gateway = share(redis.url, puppet, up=False)
    with Traffic(gateway) as traffic:
        traffic.wait_more(50)
        wait_until(lambda: all("refused" in shard["why"] for shard in gateway.status()["redis"]["shards"]),
                   gateway.status)
        assert len(cache_events(gateway, "redis_down")) == 1, "said once, however often they try"
        redis.start()
        wait_breaker(gateway, "closed")
        traffic.wait_more(50)
    wait_until(lambda: redis.keys(), "answers in Redis")


def test_a_slow_redis_costs_no_more_than_its_share_of_the_slo(redis, puppet, share):
    """Nobody gets a 504 for Redis' sake: a quarter of the objective is its share, then the model is asked."""
    gateway = share(redis.url, puppet, slo="2s", timeout={"connect": "5s", "command": "10s"})
    assert answer(gateway.predict(input=[1])) == [1]
    redis.freeze()
    began = time.monotonic()
    assert answer(gateway.predict(input=[2])) == [2]
    assert time.monotonic() - began >= 0.5
    assert rows(gateway, "given_up") == 1
    redis.thaw()


def test_a_client_that_hangs_up_while_redis_is_asked(redis, puppet, share):
    gateway = share(redis.url, puppet, slo="60s", timeout={"connect": "5s", "command": "10s"})
    redis.freeze()
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input": [7]}))
        gateway.wait_metric(1, "xebec_requests_open", state="cache_wait")
    gateway.wait_metric(1, "xebec_cache_redis_rows_total", outcome="given_up")
    gateway.wait_metric(0, "xebec_requests_open")
    redis.thaw()
    assert puppet.calls() == []


def test_stopping_while_redis_is_asked(redis, puppet, share):
    gateway = share(redis.url, puppet, slo="60s", timeout={"connect": "5s", "command": "10s"})
    redis.freeze()
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input": [7]}))
        gateway.wait_metric(1, "xebec_requests_open", state="cache_wait")
        gateway.terminate()
        redis.thaw()
        assert answer(client.read_reply()) == [7]
    gateway.wait()


# --- whether it pays --------------------------------------------------------------------------------------------------

def lookups(gateway):
    return {each["version"]: each["lookups"] for each in gateway.status()["redis"]["versions"]}["m@v1"]


def test_all_misses_are_sampled_and_hits_awaited_again(redis, puppet, share):
    gateway = share(redis.url, puppet, shards=1)
    with gateway.connect() as client:
        count = 0

        def ask_new():
            nonlocal count
            count += 500
            assert client.predict(input_batch=[[count + n] for n in range(500)]).status == 200
            return lookups(gateway) == "sampled"
        wait_until(ask_new, "lookups of what is never there to be sampled", 60)
        ask_new()  # stores of the last that were awaited are under way
        before = redis.calls("set")
        for _ in range(4):
            ask_new()
        assert rows(gateway, "skipped_sampled") > 0
        assert redis.calls("set") - before < 2000 / 4  # one of 16, more or less

        puppet.play(delay_ms=20)

        def ask_old():
            assert client.predict(input_batch=[[n] for n in range(500)]).status == 200
            return lookups(gateway) == "awaited"
        wait_until(ask_old, "lookups to be awaited again", 60)
        wait_until(lambda: ask_old() and puppet.calls() and rows(gateway, "hit") > 500, "hits", 60)


# --- another configuration, while it runs -------------------------------------------------------------------------------

def test_a_reload_keeps_redis_and_what_was_learned(redis, puppet, start_gateway):
    config = with_redis([puppet], redis.url, shards=1)
    gateway = wait_breaker(start_gateway(config).wait_ready(), "closed")
    gateway.predict(input=[1])
    wait_stored(gateway, 1)
    config["endpoints"]["more"] = {"slo": "30s", "model": "m@v1"}
    gateway.config_path.write_text(json.dumps(config))
    assert gateway.ask_admin("/reload", "POST").status == 200
    assert answer(gateway.predict("more", input=[1])) == [1]
    assert (rows(gateway, "hit"), puppet.rows_seen()) == (1, [1])
    assert len(cache_events(gateway, "redis_up")) == 1

    config["cache"]["redis"]["url"] += "/7"
    gateway.config_path.write_text(json.dumps(config))
    reply = gateway.ask_admin("/reload", "POST")
    assert reply.status != 200 and "cache.redis cannot change" in reply.body.decode()
    assert answer(gateway.predict(input=[1])) == [1]
