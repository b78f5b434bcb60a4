"""``custodock-clear``: the program. ``serve`` talks to one peer on its standard input; ``pin`` says whom it believes.

Started by systemd for each connection (``custodock-clear.socket``). See deploy/docs/release.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from agent.clearing.device import CardDevice
from agent.clearing.pins import PLACE, ClearPins, load_pins, save_pins
from agent.clearing.protocol import decode_request, encode_answer, receive, refusal, send
from agent.clearing.session import ABOUT_ONE_FILE, Now, Session
from agent.seccomp import refuse_outreach
from agent.station import clock_quality
from custody.event import Clock
from custody.release import ReleaseRefused

log = logging.getLogger("custodock-clear")
MEMORY_BYTES = 1 << 30
USED = Path("/var/lib/custodock-clear")
EXITS = "exit codes: 0 done, 1 not done, 2 wrong use"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        return int(args.call(args))
    except ReleaseRefused as error:
        log.error("refused rule=%s why=%s", error.rule, error.detail)  # noqa: TRY400 - the words are for people
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="custodock-clear",
        description="Clears authorised files from a camera's card, one by one, each only after its own proof. "
        "经授权清除记录仪文件：逐个文件核验后清除。",
        epilog=EXITS,
    )
    parser.add_argument("--pins", type=Path, default=PLACE, help=f"file that says whom it believes ({PLACE})")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="answer the peer on standard input (systemd starts this)")
    serve.add_argument("--used", type=Path, default=USED, help=f"folder of the authorisations used up ({USED})")
    serve.set_defaults(call=_serve)
    pin = commands.add_parser("pin", help="write the file: the keys as `dock-hub keys` prints them at the hub")
    option = pin.add_argument
    option("--station", required=True, help="name of this station")
    option("--command-key", required=True, metavar="KEYLINE")
    option("--log-key", required=True, metavar="KEYLINE")
    option("--witness", action="append", default=[], metavar="KEYLINE", help="may be repeated")
    option("--witnesses-needed", type=int, default=0, metavar="N", help="how many of them must have cosigned (0)")
    option("--agent-user", default="custodock", help="who may ask (custodock)")
    option("--images", metavar="DIR", help="for a trial: card images in this folder may be cleared as well")
    pin.set_defaults(call=_pin)
    return parser


def _pin(args: argparse.Namespace) -> int:
    body: dict[str, object] = {
        "station": args.station, "command_key": args.command_key, "log_key": args.log_key, "witnesses": args.witness,
        "witnesses_needed": args.witnesses_needed, "agent_user": args.agent_user,
    }  # fmt: skip
    pins = save_pins(args.pins, body | ({"images": args.images} if args.images else {}))
    print(f"{args.pins}: {pins.station}, {pins.command_key.label}, {pins.log.log_key.label}")
    return 0


def _serve(args: argparse.Namespace) -> int:
    with socket.socket(fileno=os.dup(0)) as peer:
        return serve(peer, args.pins, args.used, _now)


def serve(peer: socket.socket, pins_place: Path, used: Path, now: Now) -> int:
    """One connection, from asking the kernel who it is to hanging up; the exit code."""
    try:
        pins = load_pins(pins_place)
        _check_peer(peer, pins)
    except ReleaseRefused as error:
        log.warning("refused rule=%s why=%s", error.rule, error.detail)
        _answer_first(peer, refusal(error))
        return 1
    session = Session(pins, used, now, _open_device)
    try:
        return converse(peer, session)
    except OSError as error:  # the agent is gone
        log.warning("peer_gone why=%s", error)
        return 1
    finally:
        session.hang_up()


def _answer_first(peer: socket.socket, answer: dict[str, object]) -> None:
    """Answer whatever is asked first: a line closed with an unread packet would give the peer an error instead."""
    with suppress(ReleaseRefused, OSError):
        _, descriptor = receive(peer)
        if descriptor is not None:
            os.close(descriptor)
    with suppress(OSError):
        send(peer, encode_answer(answer))


def _check_peer(peer: socket.socket, pins: ClearPins) -> None:
    uid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    if uid != pins.agent_uid:
        raise ReleaseRefused("not_the_agent", f"uid {uid}")


def converse(peer: socket.socket, session: Session) -> int:
    """Until the peer hangs up, or a refusal that is not about one file."""
    while True:
        descriptor = None
        try:
            packet, descriptor = receive(peer)
            if not packet:
                return 0
            answer = session.handle(decode_request(packet), descriptor)
        except ReleaseRefused as error:
            log.warning("refused rule=%s why=%s", error.rule, error.detail)
            send(peer, encode_answer(refusal(error)))
            if error.rule not in ABOUT_ONE_FILE:
                return 1
        else:
            send(peer, encode_answer(answer))
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _now() -> tuple[datetime, Clock]:
    return datetime.now(UTC), clock_quality()


def _open_device(path: str) -> CardDevice:
    """The card; from here on, before anything of it is parsed, this process can do nothing but read and write it."""
    device = CardDevice(path)
    for kind, limit in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 0)):
        resource.setrlimit(kind, (limit, limit))
    refuse_outreach()
    return device


if __name__ == "__main__":
    sys.exit(main())
