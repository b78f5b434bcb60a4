"""custodock-clear and the cards that it clears, for tests: the real program, talked to as the agent does."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.clearing.protocol import Close, Delete, Open, decode_answer, encode_request, receive, send
from tests.integration.cards import exfat_card, fat_card, needs, partitioned, plant, run
from tests.release_case import COMMAND_KEY, LOG_KEY, Case

CHANCE = random.Random(5)
FILES: Mapping[str, bytes] = {
    "DCIM/100MEDIA/A long file name of the camera 0001.MP4": CHANCE.randbytes(1_500_000),
    "DCIM/100MEDIA/SHORT.MP4": CHANCE.randbytes(70_000),
    "DCIM/100MEDIA/EMPTY.MP4": b"",
    "DCIM/100MEDIA/行车记录 第1段.MP4": CHANCE.randbytes(200_000),
    "DCIM/101MEDIA/KEEP.MP4": CHANCE.randbytes(300_000),
    "LOG/CAMERA.LOG": b"power on\n",
} | {f"DCIM/102MEDIA/Recording number {n:04}.MP4": CHANCE.randbytes(1000 + n) for n in range(60)}


class Clearer:
    """The program, talked to as the agent does."""

    def __init__(self, home: Path, images: Path, station: str, **pins: Any) -> None:
        self.pins, self.used = home / "clear.json", home / "used"
        self.used.mkdir(exist_ok=True)
        body = {
            "station": station, "command_key": COMMAND_KEY.verify_key.line, "log_key": LOG_KEY.verify_key.line,
            "agent_user": pwd.getpwuid(os.geteuid()).pw_name, "images": str(images),
        }  # fmt: skip
        self.pins.write_text(json.dumps(body | pins))

    def start(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        """A connection, and the process at its other end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-m", "tests.integration.clear_child", self.pins, self.used]
            return ours, subprocess.Popen(argv, stdin=theirs)

    @contextlib.contextmanager
    def connected(self) -> Iterator[Peer]:
        """One conversation."""
        ours, child = self.start()
        try:
            yield Peer(ours, child)
        finally:
            ours.close()
            child.wait(30)


class Peer:
    """One connection."""

    def __init__(self, line: socket.socket, child: subprocess.Popen[bytes]) -> None:
        self.line, self.child = line, child

    def ask(self, packet: bytes, file: Path | None = None) -> dict[str, Any]:
        if file is None:
            send(self.line, packet)
        else:
            with file.open("rb") as opened:
                send(self.line, packet, opened.fileno())
        return decode_answer(receive(self.line)[0])

    def open(self, case: Case, **changes: Any) -> dict[str, Any]:
        device = changes.get("device", str(case.card))
        command, closed = changes.get("command", case.command), changes.get("closed", case.closed)
        return self.ask(encode_request(Open(device, command, closed)), changes.get("manifest", case.manifest))

    def delete(self, case: Case, path: str) -> dict[str, Any]:
        entry, copy = case.seals()[path]
        return self.ask(encode_request(Delete(entry)), copy)

    def close(self) -> dict[str, Any]:
        return self.ask(encode_request(Close()))


@contextlib.contextmanager
def card_of(kind: str, folder: Path, tree: Mapping[str, bytes] = FILES) -> Iterator[Path]:
    """A card image of one kind in a folder of its own."""
    folder.mkdir()
    path = folder / "card.img"
    if kind.startswith("fat"):
        bits = int(kind.removeprefix("fat").removesuffix("-mbr"))
        plain = fat_card(folder / "plain.img", tree, bits, {12: 8, 16: 32, 32: 64}[bits], {12: 8, 16: 4, 32: 1}[bits])
        if kind.endswith("-mbr"):
            partitioned(path, [plain], "dos")
        else:
            plain.rename(path)
    else:
        with exfat_card(folder / "plain.img") as mount:
            plant(mount, tree)
            run("sync", "-f", mount)
        if kind.endswith("-gpt"):
            partitioned(path, [folder / "plain.img"], "gpt")
        else:
            (folder / "plain.img").rename(path)
    yield path


def fsck(card: Path, kind: str) -> None:
    """The file system's own checker finds nothing."""
    needs("fsck.vfat", "fsck.exfat")
    part = card.parent / "part.img"
    at = 1 << 20 if "-" in kind else 0
    part.write_bytes(card.read_bytes()[at:])
    if kind.endswith("-gpt"):
        os.truncate(part, 64 << 20)
    run(*(("fsck.vfat", "-n") if kind.startswith("fat") else ("fsck.exfat", "-n")), part)
    part.unlink()
