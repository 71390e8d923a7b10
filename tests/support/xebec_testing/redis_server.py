"""RedisServer: a real redis-server of the test's own, on a free port and a unix socket; and the little RESP to ask it."""
import pathlib
import signal
import socket
import subprocess

from .patience import PATIENCE, wait_until


class RedisError(Exception):
    """What the server refused, in its words."""


def read_reply(file):
    line = file.readline()
    kind, rest = line[:1], line[1:].rstrip(b"\r\n")
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b"+":
        return rest.decode()
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if int(rest) < 0 else file.read(int(rest) + 2)[:-2]
    assert kind == b"*", line
    return [read_reply(file) for _ in range(int(rest))]


class RedisServer:
    def __init__(self, directory, *options, password=None):
        self.directory = pathlib.Path(directory)
        self.unix_path = self.directory / "redis.sock"
        self.options, self.password = list(options), password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix(self):
        return f"unix:{self.unix_path}"

    # --- life ------------------------------------------------------------------------------------

    def start(self):
        options = [*self.options, *(["--requirepass", self.password] if self.password else [])]
        with open(self.directory / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.unix_path),
                 "--dir", str(self.directory), "--save", "", "--appendonly", "no", *options], stdout=log, stderr=log)
        wait_until(self._answers, lambda: (self.directory / "redis.log").read_text()[-2000:])
        return self

    def _answers(self):
        assert self.process.poll() is None, (self.directory / "redis.log").read_text()[-2000:]
        try:
            return self.ask("PING") == "PONG"
        except OSError:
            return False

    def kill(self):
        """As a crash would: SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def freeze(self):
        """Its sockets stay open, the system still takes connections, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "Redis to be frozen")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    # --- asking it -------------------------------------------------------------------------------

    def ask(self, *words, database=0):
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client, client.makefile("rb") as file:
            prologue = [("AUTH", self.password)] if self.password else []
            for command in [*prologue, ("SELECT", database), words]:
                encoded = [word if isinstance(word, bytes) else str(word).encode() for word in command]
                client.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))
                reply = read_reply(file)
            return reply

    def keys(self, database=0):
        return sorted(self.ask("KEYS", "*", database=database))

    def set(self, key, value):
        assert self.ask("SET", key, value, "PX", 600_000) == "OK"

    def calls(self, command):
        """How often it ran a command since it started."""
        for line in self.ask("INFO", "commandstats").decode().splitlines():
            if line.startswith(f"cmdstat_{command.lower()}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0
