"""NameServer: a small DNS server that answers as the test tells it; in_its_own_world(): a command that asks no other."""
import os
import socket
import struct
import subprocess
import threading
import time

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2
UDP_BYTES = 512


class NameServer:
    """
    names: {name: [addresses]}; what it lacks does not exist. mode: answer, servfail or silent. All may change at any
    time, between two answers. On a loopback address of its own, for resolv.conf knows no port but 53.
    """

    def __init__(self, **names):
        self.names, self.mode = names, "answer"
        self.address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp.bind((self.address, 53))
        self.tcp.bind((self.address, 53))
        self.tcp.listen()
        self.threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def close(self):
        for end in (self.udp, self.tcp):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # a UDP socket is not connected, and wakes all the same
        for thread in self.threads:
            thread.join(5)
        self.udp.close()
        self.tcp.close()

    def _serve_udp(self):
        while True:
            question, client = self.udp.recvfrom(4096)
            if not question:
                return
            answer = self._answer(question)
            if answer and len(answer) > UDP_BYTES:  # the head and the question alone, marked as cut off
                answer = answer[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + _question(question)[2]
            if answer:
                self.udp.sendto(answer, client)

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        with connection, connection.makefile("rb") as stream:
            while len(size := stream.read(2)) == 2:
                answer = self._answer(stream.read(int.from_bytes(size, "big")))
                if not answer:
                    time.sleep(30)
                    return
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, question):
        name, kind, echoed = _question(question)
        if self.mode == "silent":
            return None
        addresses = self.names.get(name)
        code = SERVFAIL if self.mode == "servfail" else NXDOMAIN if addresses is None else 0
        families = {A: socket.AF_INET, AAAA: socket.AF_INET6}
        found = [] if code or kind not in families else [
            socket.inet_pton(families[kind], each) for each in addresses if (":" in each) == (kind == AAAA)]
        records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(data)) + data for data in found)
        return question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0) + echoed + records


def _question(message):
    """-> (name, type, the question's bytes)"""
    at, labels = 12, []
    while length := message[at]:
        labels.append(message[at + 1:at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), int.from_bytes(message[at + 1:at + 3], "big"), message[12:at + 5]


def in_its_own_world(directory, name_server, hosts=""):
    """
    The head of a command that sees another /etc/hosts and resolv.conf than the rest of the machine. They are files in
    `directory`.
    """
    (directory / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    (directory / "resolv.conf").write_text(f"nameserver {name_server}\noptions timeout:1 attempts:1\n")
    script = (f"mount --bind {directory}/hosts /etc/hosts && mount --bind {directory}/resolv.conf /etc/resolv.conf"
              ' && exec "$@"')
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


def why_no_world():
    """Why this machine lets nobody have one; None when it does."""
    if os.geteuid() != 0:
        return "not root: cannot mount, nor listen on port 53"
    tried = subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return tried.stderr.strip() or "unshare failed" if tried.returncode else None
