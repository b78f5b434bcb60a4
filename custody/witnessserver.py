"""``POST /add-checkpoint`` for `custody witness run`: C2SP tlog-witness by the standard library's server.

Whoever can reach it can ask; nothing is believed that the log's key did not sign. Bounded: `MAX_CONNECTIONS` at once,
each closed after `CONNECTION_SECONDS`, a body of at most `MAX_REQUEST_BYTES`.
"""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from custody.witness import MAX_REQUEST_BYTES
from custody.witnessdir import Reply, Unusable, WitnessDir

MAX_CONNECTIONS = 32
CONNECTION_SECONDS = 60.0
PATH = "/add-checkpoint"
_TEXT = "text/plain; charset=utf-8"


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness until `shutdown`."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would let a second server take the port over

    def __init__(self, address: tuple[str, int], witness: WitnessDir) -> None:
        """Bind and listen. Raises OSError for an address that is taken."""
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.witness = witness
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, or close it where too many are open."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, ended from outside when its time is over: no client holds it by being slow."""
        end = threading.Timer(CONNECTION_SECONDS, _cut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is nothing to report; everything else is."""
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # with keep-alive, as tlog-witness asks
    server: WitnessServer
    timeout = CONNECTION_SECONDS

    def do_POST(self) -> None:
        if self.path != PATH:
            return self._send(Reply(404, _TEXT, "not_found\n"), close=True)
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 10):
            return self._send(Reply(411, _TEXT, "length_required\n"), close=True)
        if int(length) > MAX_REQUEST_BYTES:
            return self._send(Reply(413, _TEXT, "too_long\n"), close=True)
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            return self._send(Reply(400, _TEXT, "bad_format\n"), close=True)
        try:
            reply = self.server.witness.add_checkpoint(body)
        except (Unusable, OSError) as error:  # what must be kept could not be kept: nothing is cosigned
            print(f"custody witness: {error}", file=sys.stderr, flush=True)
            reply = Reply(500, _TEXT, "cannot_keep\n")
        self._send(reply)

    def _send(self, reply: Reply, *, close: bool = False) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("content-type", reply.kind)
        self.send_header("content-length", str(len(body)))
        if close:
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "custody-witness"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged one by one; what matters is in the folder."""
