"""What a gateway takes that has nothing to do, and what ten thousand idle connections do."""

import resource
import socket

from .bench import floats_body, Gateway, row

IDLE_CONNECTIONS = 10_000


def case_memory(bench):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    gateway = Gateway(bench, "memory", 4, bench.noop(4), "policy: aimd", cache=True)
    idle = gateway.rss_mib()
    sockets = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(IDLE_CONNECTIONS)]
    body = floats_body(4)
    request = (f"POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
    for client in sockets:  # each has been used once, and is kept alive
        client.sendall(request)
    for client in sockets:
        client.recv(4096)
    used = gateway.rss_mib()
    for client in sockets:
        client.close()
    gateway.stop()
    return [row("memory: idle RSS", "25 MiB", "MiB", idle, 25.0, 1.0, at_most=True),
            row(f"memory: {IDLE_CONNECTIONS:,} idle connections", "120 MiB", "MiB", used, 120.0, 1.0, at_most=True)]
