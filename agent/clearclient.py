"""The agent's side of ``custodock-clear``: asks, and believes no more than it is told. Blocking; for a thread."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.clearing.protocol import Close, Delete, Open, decode_answer, encode_request, receive, send
from custody.release import ReleaseRefused

SOCKET = Path("/run/custodock-clear.sock")
Connect = Callable[[], socket.socket]


def connect() -> socket.socket:
    """A connection to the installed program. Raises OSError where it is not installed or switched off."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        line.connect(str(SOCKET))
    except OSError:
        line.close()
        raise
    return line


class ClearClient:
    """One conversation. `hang_up`, from any thread, ends a call that waits."""

    def __init__(self, connect_to: Connect) -> None:
        """Raises ReleaseRefused `clearing_unavailable`."""
        try:
            self._line = connect_to()
        except OSError as error:
            raise ReleaseRefused("clearing_unavailable", str(error.strerror)) from None

    def open(self, device: str, command: bytes, closed: bytes, manifest: Path) -> int:
        """How many files may be cleared. Raises ReleaseRefused."""
        try:
            packet = encode_request(Open(device, command, closed))
        except ValueError as error:
            raise ReleaseRefused("bad_request", str(error)) from None
        files = self._ask(packet, os.fsencode(manifest), "manifest_differs").get("files")
        return files if isinstance(files, int) else 0

    def delete(self, entry: int, copy: bytes) -> None:
        """Clear one file whose vault copy this is. Raises ReleaseRefused."""
        self._ask(encode_request(Delete(entry)), copy, "vault_copy_missing")

    def finish(self) -> bool:
        """That was all; whether the rest of the card is as it was. Raises ReleaseRefused."""
        return bool(self._ask(encode_request(Close()), None, "").get("others_same"))

    def _ask(self, packet: bytes, file: bytes | None, rule_without_file: str) -> dict[str, object]:
        with _opened(file, rule_without_file) as descriptor:
            try:
                send(self._line, packet, descriptor)
                answer, unwanted = receive(self._line)
            except OSError as error:
                raise ReleaseRefused("clearing_failed", str(error.strerror)) from None
        if unwanted is not None:
            os.close(unwanted)
        return decode_answer(answer)

    def hang_up(self) -> None:
        """End it; a file that is being cleared is cleared to its end or not at all."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the connection."""
        self._line.close()


@contextmanager
def _opened(file: bytes | None, rule: str) -> Iterator[int | None]:
    if file is None:
        yield None
        return
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise ReleaseRefused(rule, str(error.strerror)) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
