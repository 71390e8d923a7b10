"""Elsewhere: another host, as far as the network goes, which may vanish without a word."""
import os
import subprocess


def _ip(*words):
    ran = subprocess.run(["ip", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 0, f"ip {' '.join(words)}: {ran.stderr}"


class Elsewhere:
    """with Elsewhere() as host: a network namespace of its own at host.address; programs start there with host.command."""

    def __init__(self):
        number = os.getpid() & 0x3FFF
        network = f"198.18.{number >> 6}.{(number & 63) * 4}"  # for tests of networks: RFC 2544
        head, _, last = network.rpartition(".")
        self.here, self.address = f"{head}.{int(last) + 1}", f"{head}.{int(last) + 2}"
        self.name, self.cable = f"xebec-{os.getpid()}", f"xebec{os.getpid()}"
        self.command = ["ip", "netns", "exec", self.name]

    def __enter__(self):
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _ip("address", "add", f"{self.here}/30", "dev", self.cable)
            _ip("link", "set", self.cable, "up")
            _ip("-n", self.name, "address", "add", f"{self.address}/30", "dev", "eth0")
            _ip("-n", self.name, "link", "set", "eth0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "link", "delete", self.cable], stderr=subprocess.DEVNULL)
        _ip("netns", "delete", self.name)

    def vanish(self):
        """Its cable is cut: nothing arrives there any more, and nothing says so."""
        _ip("-n", self.name, "link", "set", "eth0", "down")


def why_nowhere():
    """Why this machine lets nobody have one; None when it does."""
    try:
        with Elsewhere():
            return None
    except (AssertionError, OSError) as error:
        return str(error)
