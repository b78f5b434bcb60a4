"""Loopback ports for servers that a test starts, kills and starts again."""

import os
import random
import socket

# below the range that Linux gives to outgoing connections: while a killed server's port is free, nobody else gets it
FIRST, PER_WORKER = 12_000, 2_500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_chance = random.Random()
_given: set[int] = set()  # a test that asks for several before it binds the first gets each once


def free_port() -> int:
    """A port on which nobody listens and which no parallel test worker picks. Raises OSError when none is found."""
    for _ in range(100):
        port = FIRST + _worker * PER_WORKER + _chance.randrange(PER_WORKER)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError("no free port")
