"""Messages between the agent and ``custodock-clear``: one JSON object in one packet, with at most one descriptor.

Three verbs and no more. None carries a path on the card: files are named by their number in the approved manifest.
"""

from __future__ import annotations

import array
import json
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from custody.release import ReleaseRefused

PACKET_BYTES_MAX = 160 * 1024  # two envelopes as JSON text; below the kernel's default for one packet
DEVICE = re.compile(r"/dev/sd[a-z]{1,3}")
_DETAIL_MAX = 300


@dataclass(frozen=True, slots=True)
class Open:
    """Begin with a card. Comes with the descriptor of the docking's manifest."""

    device: str
    authorisation: bytes  # the hub's command, as it came
    closed: bytes  # the docking.closed envelope


@dataclass(frozen=True, slots=True)
class Delete:
    """Clear one file. Comes with the descriptor of its copy in the vault."""

    entry: int


@dataclass(frozen=True, slots=True)
class Close:
    """That was all: this authorisation is used up."""


Request = Open | Delete | Close


def encode_request(request: Request) -> bytes:
    """A packet. Raises ValueError when it does not fit."""
    match request:
        case Open():
            body: dict[str, object] = {
                "verb": "open", "device": request.device, "authorisation": request.authorisation.decode(),
                "closed": request.closed.decode(),
            }  # fmt: skip
        case Delete():
            body = {"verb": "delete", "entry": request.entry}
        case Close():
            body = {"verb": "close"}
    packet = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    if len(packet) > PACKET_BYTES_MAX:
        raise ValueError("the packet is too long")
    return packet


def decode_request(packet: bytes) -> Request:
    """Raises ReleaseRefused `bad_request` for anything else."""
    try:
        body = json.loads(packet.decode()) if len(packet) <= PACKET_BYTES_MAX else {}
    except (ValueError, RecursionError):
        body = {}
    keys = len(body) if isinstance(body, dict) else 0
    match body:
        case {"verb": "open", "device": str(device), "authorisation": str(raw), "closed": str(closed)} if (
            len(body) == 4
        ):
            with suppress(UnicodeEncodeError):  # lone surrogates
                return Open(device, raw.encode(), closed.encode())
        case {"verb": "delete", "entry": int(entry)} if keys == 2 and type(entry) is int and entry > 0:
            return Delete(entry)
        case {"verb": "close"} if keys == 1:
            return Close()
    raise ReleaseRefused("bad_request")


def encode_answer(answer: dict[str, object]) -> bytes:
    """What the program says, as a packet."""
    return json.dumps(answer, separators=(",", ":")).encode()


def refusal(error: ReleaseRefused) -> dict[str, object]:
    """The answer that a rule is not fulfilled."""
    return {"refused": error.rule, "detail": error.detail[:_DETAIL_MAX]}


def decode_answer(packet: bytes) -> dict[str, Any]:
    """Raises ReleaseRefused: the refusal that the program answered, or `clearing_failed` for nonsense or its end."""
    try:
        body = json.loads(packet)
    except ValueError:
        body = None
    match body:
        case {"refused": str(rule), "detail": str(detail)}:
            raise ReleaseRefused(rule, detail)
        case {"ok": True}:
            return dict(body)
    raise ReleaseRefused("clearing_failed", "no answer" if not packet else "it answered nonsense")


def send(peer: socket.socket, packet: bytes, descriptor: int | None = None) -> None:
    """One packet, with a descriptor. Raises OSError."""
    socket.send_fds(peer, [packet], [] if descriptor is None else [descriptor])


def receive(peer: socket.socket) -> tuple[bytes, int | None]:
    """One packet and its descriptor, which the caller closes; an empty one at the end.

    Raises ReleaseRefused `bad_request` for a packet that is too long or brings several descriptors; OSError.
    """
    room = socket.CMSG_SPACE(4 * array.array("i").itemsize)
    data, ancillary, flags, _ = peer.recvmsg(PACKET_BYTES_MAX + 1, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) > 1:
        for fd in fds:
            os.close(fd)
        raise ReleaseRefused("bad_request")
    return data, fds[0] if fds else None
