"""Records an offload on a logged disk: `python -m tests.integration.power_record BASE CARD OUT [PREFIX…]`.

Runs dock-agent, behind PREFIX, on a copy of the disk image BASE. OUT gets the log, the image that it starts from, and
facts.json. What is "announced" is what any other process could see: the test reads the outbox all the time, as the
uplink and `dock-agent status` do, and marks each row in the log as soon as it is there. Run it by `in_namespace`.
"""

import json
import os
import select
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custody.checkpoint import parse_key_line
from tests.integration.power_disk import disk_mounted, run, scratch, served
from tests.integration.power_judge import outbox, seals

POLL_SECONDS = 0.002
CAMERA = "CAM-1"


def offload_argv(card: Path, vault: Path) -> list[str]:
    """The command under test, without its program."""
    return ["offload", str(card), "--vault", str(vault), "--camera", CAMERA]


def record(base: Path, card: Path, out: Path, prefix: list[str]) -> None:
    """One whole run of the command, with a mark in the log for everything that became visible outside."""
    out.mkdir()
    announced = base.with_suffix(".json")
    log = out / "log"
    log.touch()
    with scratch(out) as folder:
        image = folder / "disk.img"
        run("cp", "--sparse=always", base, image)
        with served(folder / "fuse", image, card, log) as files, disk_mounted(files / "disk", folder / "disk") as disk:
            vault = disk / "vault"
            _announcing(files / "marks", vault, [*prefix, *_command(files / "card", vault)])
            envelopes = outbox(vault / ".station/station.db", folder / "db")
            key_line = next(vault.rglob("station.vkey")).read_text().strip()
            found = seals(envelopes, parse_key_line(key_line))
    facts = {
        "key": key_line,
        "before": json.loads(announced.read_text()) if announced.exists() else {},
        "seals": {str(seq): list(seal) for seq, seal in found.items()},
    }
    (out / "facts.json").write_text(json.dumps(facts))
    run("cp", "--sparse=always", base, out / "base.img")


def _command(card: Path, vault: Path) -> list[str]:
    return [sys.executable, "-m", "agent.app", *offload_argv(card, vault)]


def _announcing(marks: Path, vault: Path, argv: list[str]) -> None:
    """Run `argv` on a terminal, where it shows its progress; mark each outbox row as soon as others can read it."""
    channel = os.open(marks, os.O_WRONLY)
    watch = Watch(vault / ".station/station.db", lambda mark: os.write(channel, json.dumps(mark).encode()))
    ours, theirs = os.openpty()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while process.poll() is None:
        watch.look()
        if select.select([ours], [], [], POLL_SECONDS)[0]:
            said += _read_terminal(ours)
    watch.look()
    os.write(channel, json.dumps({"code": process.returncode}).encode())
    os.close(channel)
    os.close(ours)
    assert process.returncode == 0, said.decode("utf-8", "replace")


def _read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # EIO: the other side is closed
        return b""


class Watch:
    """Reads the outbox as another process would, and marks what is new in it."""

    def __init__(self, database: Path, mark: Callable[[dict[str, Any]], object]) -> None:
        self._database, self._mark = database, mark
        self._seen = 0

    def look(self) -> None:
        try:
            db = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        except sqlite3.OperationalError:  # not made yet
            return
        try:
            rows = db.execute("SELECT seq, sha256 FROM outbox WHERE seq > ? ORDER BY seq", (self._seen,)).fetchall()
        except sqlite3.OperationalError:
            if self._seen:
                raise
            return  # no table yet
        finally:
            db.close()
        if rows:
            self._mark({"rows": {seq: digest.hex() for seq, digest in rows}})
            self._seen = rows[-1][0]


if __name__ == "__main__":
    record(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
