"""Judges cuts of a recording: `python -m tests.integration.power_replay OUT CARD`.

Reads orders from stdin, one JSON line of `Order` each, and prints verdicts. The disk is restored and mounted and the
promises judged; then, with `restart`, the agent runs on it again and the end is judged. Run it by `in_namespace`.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent import app
from custody import cli
from custody.checkpoint import VerifyKey, parse_key_line
from custody.errors import CustodyError
from tests.integration.power_disk import Kind, disk_mounted, run, scratch, served
from tests.integration.power_judge import MIB, Promise, judge_promise, judge_read_again, judge_recovery
from tests.integration.power_log import Cut, Log, Record, apply, apply_survivors
from tests.integration.power_record import offload_argv


@dataclass(frozen=True, slots=True)
class Order:
    """One cut to judge. `keep`: where to put the disk after the cut, as the base of another recording."""

    cut: Cut
    restart: bool = True
    forget_leaves: bool = False  # control: the journal of long copies is gone
    keep: str | None = None

    def dump(self) -> str:
        return json.dumps(asdict(self))


class Replay:
    """Judges cuts of one recording, in rising order."""

    def __init__(self, out: Path, card: Path, truth: dict[str, Any], folder: Path, card_log: Path) -> None:
        self._log = Log(out / "log")
        self._facts = json.loads((out / "facts.json").read_text())
        self._truth: dict[str, str] = {file["sha256"]: name for name, file in truth.items()}
        self._places: dict[str, tuple[int, int]] = {
            name: (file["at"], file["size"]) for name, file in truth.items() if file["size"] > MIB
        }
        self._card, self._folder, self._card_log = card, folder, card_log
        self._flushed = 0
        self._flushed_image = folder / "flushed.img"
        run("cp", "--sparse=always", out / "base.img", self._flushed_image)

    def judge(self, order: Order) -> dict[str, Any]:
        """The verdict on one cut: what was lost of the unflushed, and the fault, if any."""
        cut, image = order.cut, self._folder / "cut.img"
        lost = self.restore(cut, image)
        promise = self.promise(cut)
        if order.keep:
            run("cp", "--sparse=always", image, order.keep)
            Path(order.keep).with_suffix(".json").write_text(json.dumps({"rows": promise.rows}))
        verdict: dict[str, Any] = {"order": order.dump(), "announced": len(promise.rows), "seals": len(promise.seals)}
        verdict |= {"lost_bytes": lost, "stage": "mount", "fault": None}
        try:
            with disk_mounted(image, self._folder / "disk") as disk:
                vault = disk / "vault"
                verdict["stage"] = "promise"
                judge_promise(vault, promise, self._truth, self._folder / "db")
                if order.restart:
                    verdict["stage"] = "restart"
                    if order.forget_leaves:
                        _forget_leaves(vault)
                    verdict |= self._restart(vault, promise, cut)
        except (AssertionError, sqlite3.Error, CustodyError, OSError, subprocess.CalledProcessError) as error:
            detail = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else ""
            verdict["fault"] = f"{type(error).__name__}: {error} {detail}"[:2000]
        return verdict

    def restore(self, cut: Cut, image: Path) -> int:
        """The disk after this cut; how many written bytes it lost."""
        flushed = 0 if cut.flushes_lie else self._log.last_flush(cut.at)
        with self._flushed_image.open("r+b") as disk:
            apply(self._log, disk, self._flushed, flushed)
        self._flushed = flushed
        run("cp", "--sparse=always", self._flushed_image, image)
        with image.open("r+b") as disk:
            return apply_survivors(self._log, disk, cut, flushed)

    def promise(self, cut: Cut) -> Promise:
        rows = {int(seq): digest for seq, digest in self._facts["before"].get("rows", {}).items()}
        ended = False
        for mark in self._log.marks(cut.at):
            rows |= {int(seq): digest for seq, digest in mark.get("rows", {}).items()}
            ended = ended or mark.get("code") == 0
        found = {int(seq): (path, digest) for seq, (path, digest) in self._facts["seals"].items() if int(seq) in rows}
        return Promise(rows, found, ended)

    def _restart(self, vault: Path, promise: Promise, cut: Cut) -> dict[str, Any]:
        position = self._card_log.stat().st_size
        code, said = forked(app.main, [*offload_argv(self._card, vault), "--json"])
        assert code == 0, f"dock-agent offload ended with {code}: {said}"
        outcome = json.loads(said.splitlines()[-1])
        key = self._key(vault, promise)
        judge_recovery(vault, promise, self._truth, key, self._folder / "db")
        key_file = self._folder / "station.vkey"
        key_file.write_text(f"{key.line}\n")
        code, said = forked(cli.main, ["verify", str(vault), "--key", str(key_file)])
        assert code == 0, f"custody verify ended with {code}: {said}"
        reached = furthest(self._log.records[: cut.at], self._places)
        read = amount(self._card_log, position, self._places)
        judge_read_again(reached, read, {name: size for name, (_, size) in self._places.items()})
        again = {n: max(0, read.get(n, 0) - (size - reached.get(n, 0))) for n, (_, size) in self._places.items()}
        return {"again_bytes": max(again.values()), "copied": outcome["copied"]}

    def _key(self, vault: Path, promise: Promise) -> VerifyKey:
        lines = {path.read_text().strip() for path in vault.rglob("station.vkey")}
        assert len(lines) == 1, f"the station changed its key: {lines}"
        if promise.rows:
            assert lines == {self._facts["key"]}, "another key than signed what was announced"
        return parse_key_line(lines.pop())


def furthest(records: Iterable[Record], places: dict[str, tuple[int, int]]) -> dict[str, int]:
    """How far each file of the card was read."""
    reached: dict[str, int] = {}
    for name, length, offset in _reads(records, places):
        reached[name] = max(reached.get(name, 0), offset + length)
    return reached


def amount(card_log: Path, position: int, places: dict[str, tuple[int, int]]) -> dict[str, int]:
    """How many bytes of each file were read since `position` of the log."""
    log = Log(card_log)
    read: dict[str, int] = {}
    for name, length, _ in _reads((r for r in log.records if r.position > position), places):
        read[name] = read.get(name, 0) + length
    log.close()
    return read


def _reads(records: Iterable[Record], places: dict[str, tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    for record in records:
        if record.kind is not Kind.READ:
            continue
        for name, (start, size) in places.items():
            first, last = max(record.offset, start), min(record.offset + record.length, start + size)
            if first < last:
                yield name, last - first, first - start


def forked(main: Callable[[list[str]], int], argv: list[str]) -> tuple[int, str]:
    """Run a command of ours in a fork, so that each of hundreds is spared the start of an interpreter."""
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                code = main(argv)
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                with suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode("utf-8", "replace")[-3000:]


def _forget_leaves(vault: Path) -> None:
    for journal in (vault / ".staging").glob("*.leaves"):
        journal.unlink()


def replay(out: Path, card: Path) -> None:
    """Judge what stdin orders."""
    truth = json.loads(card.with_suffix(".json").read_text())
    with scratch(out) as folder:
        (folder / "none").touch()
        card_log = folder / "card.log"
        card_log.touch()
        with served(folder / "fuse", folder / "none", card, card_log) as files:
            judge = Replay(out, files / "card", truth, folder, card_log)
            for line in sys.stdin:
                order = json.loads(line)
                order["cut"] = Cut(**order["cut"])
                started = time.monotonic()
                verdict = judge.judge(Order(**order))
                print(json.dumps(verdict | {"seconds": round(time.monotonic() - started, 2)}), flush=True)


if __name__ == "__main__":
    replay(Path(sys.argv[1]), Path(sys.argv[2]))
